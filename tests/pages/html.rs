//! Reads pages with an HTML parser that follows the standard, as browsers do.

use scraper::{ElementRef, Html, Node, Selector};
use symbolon::pages::Page;

pub(crate) fn parse(page: &Page) -> Html {
    Html::parse_document(super::html(page))
}

fn select<'d>(document: &'d Html, selector: &str) -> Vec<ElementRef<'d>> {
    let selector = Selector::parse(selector).unwrap();
    document.select(&selector).collect()
}

/// The number of elements that match.
pub(crate) fn count(document: &Html, selector: &str) -> usize {
    select(document, selector).len()
}

/// The text of each element that matches.
pub(crate) fn texts_of(document: &Html, selector: &str) -> Vec<String> {
    let elements = select(document, selector).into_iter();
    elements.map(|it| it.text().collect()).collect()
}

/// The value of an attribute of each element that matches.
pub(crate) fn attributes_of<'d>(
    document: &'d Html,
    selector: &str,
    attribute: &str,
) -> Vec<&'d str> {
    let elements = select(document, selector).into_iter();
    elements
        .map(|it| it.value().attr(attribute).unwrap_or_default())
        .collect()
}

/// The values of all attributes.
pub(crate) fn attributes(document: &Html) -> Vec<String> {
    let nodes = document.tree.nodes();
    let elements = nodes.filter_map(|node| node.value().as_element());
    let values = elements.flat_map(|element| element.attrs().map(|(_, value)| value.to_owned()));
    values.collect()
}

/// The elements in their order, each with the names of its attributes. What Fluent isolates is left out, since sentences
/// differ in it.
pub(crate) fn skeleton(document: &Html) -> Vec<String> {
    let nodes = document.tree.nodes();
    nodes
        .filter_map(|node| match node.value() {
            Node::Element(element) if element.name() != "bdi" => {
                let names: Vec<&str> = element.attrs().map(|(name, _)| name).collect();
                Some(format!("{} {}", element.name(), names.join(" ")))
            }
            Node::Comment(_) => Some("comment".to_owned()),
            _ => None,
        })
        .collect()
}

/// The text that a person reads: of the title, of labels and values, but not of the style and the script.
pub(crate) fn visible(document: &Html) -> String {
    let mut text = String::new();
    for node in document.tree.nodes() {
        let parent = node.parent().and_then(|it| it.value().as_element());
        let is_shown = parent.is_some_and(|it| !["style", "script"].contains(&it.name()));
        match node.value() {
            Node::Text(own) if is_shown => text.push_str(own),
            Node::Element(element) => {
                for (name, value) in element.attrs() {
                    let is_hidden = element.attr("type") == Some("hidden");
                    if ["aria-label", "title", "value"].contains(&name) && !is_hidden {
                        text.push_str(value);
                    }
                }
            }
            _ => {}
        }
        text.push('\n');
    }
    text
}
