//! No files of the program import each other in a circle, and neither do the folders and files of one folder.
//!
//! A file depends on the file that defines what it imports, however many `pub use` lie between. Left out: tests and
//! what only they use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"//[^\n]*").unwrap());
static STATEMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^[ \t]*(pub(?:\([^)]*\))?[ \t]+)?use[ \t]+([^;]+);").unwrap()
});
/// A path in the code instead of an import.
static INLINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap());

/// A module, as the parts of its path below the crate.
type Module = Vec<String>;

/// A name that a file imports: its path as written, and the name in that file.
#[derive(Debug)]
struct Import {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// The source of a module.
#[derive(Debug)]
struct Source {
    imports: Vec<Import>,
    /// The code without comments, tests and imports.
    rest: String,
}

struct Program(BTreeMap<Module, Source>);

/// The modules that each module depends on.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

fn parts(path: &str) -> Vec<String> {
    path.split("::")
        .map(|part| part.trim().to_owned())
        .collect()
}

/// Adds the imports of a `use` tree, such as `{a, b::{self, c as d}}`.
fn flatten(prefix: &[String], tree: &str, is_public: bool, imports: &mut Vec<Import>) {
    let (mut depth, mut from) = (0_usize, 0);
    let mut branches = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[from..]);
    for branch in branches.into_iter().map(str::trim) {
        if let Some((start, rest)) = branch.split_once('{') {
            let mut path = prefix.to_vec();
            path.extend(parts(start.trim_end().trim_end_matches("::")));
            path.retain(|part| !part.is_empty());
            flatten(
                &path,
                rest.trim_end().trim_end_matches('}'),
                is_public,
                imports,
            );
        } else if !branch.is_empty() {
            let (path, alias) = branch.split_once(" as ").unwrap_or((branch, ""));
            let mut all = prefix.to_vec();
            all.extend(parts(path));
            if all.last().is_some_and(|last| last == "self") {
                all.pop();
            }
            let name = if alias.is_empty() {
                all.last().cloned().unwrap_or_default()
            } else {
                alias.trim().to_owned()
            };
            imports.push(Import {
                path: all,
                name,
                is_public,
            });
        }
    }
}

impl Source {
    fn of(text: &str) -> Self {
        let text = COMMENT.replace_all(text, "");
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let mut imports = Vec::new();
        for found in STATEMENT.captures_iter(text) {
            flatten(&[], &found[2], found.get(1).is_some(), &mut imports);
        }
        let rest = STATEMENT.replace_all(text, "").into_owned();
        Self { imports, rest }
    }
}

impl Program {
    /// Reads the sources below `root`.
    fn read(root: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_of_tests = ["tests", "fuzzing", "testing", "fixtures", "snapshots"]
                .contains(&name.trim_end_matches(".rs"));
            if is_of_tests || name == "main.rs" {
                continue;
            }
            if path.is_dir() {
                open.extend(
                    fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = module_of(path.strip_prefix(root).unwrap());
                modules.insert(module, Source::of(&fs::read_to_string(&path).unwrap()));
            }
        }
        Self(modules)
    }

    /// Returns the path below the crate; `None` for another crate's.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let below = |base: &[String], rest: &[String]| [base, rest].concat();
        match &**first {
            "crate" => Some(rest.to_vec()),
            "self" => Some(below(module, rest)),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = module.get(..module.len().checked_sub(ups)?)?;
                Some(below(base, &path[ups..]))
            }
            _ => {
                let own = below(module, path);
                self.0.contains_key(&own[..=module.len()]).then_some(own)
            }
        }
    }

    /// Returns the module that defines what a path names, and what is left of the path.
    fn resolve(
        &self,
        module: &Module,
        path: &[String],
        most: usize,
    ) -> Option<(Module, Vec<String>)> {
        let path = self.absolute(module, path)?;
        let cut = (0..=path.len())
            .rev()
            .find(|cut| self.0.contains_key(&path[..*cut]))?;
        let (found, rest) = (path[..cut].to_vec(), path[cut..].to_vec());
        let reexported = rest.first().and_then(|name| {
            let mut imports = self.0[&found].imports.iter();
            imports.find(|import| import.is_public && import.name == *name)
        });
        match reexported.filter(|_| most > 0) {
            Some(import) => {
                let path = [&import.path[..], &rest[1..]].concat();
                self.resolve(&found, &path, most - 1)
                    .or(Some((found, rest)))
            }
            None => Some((found, rest)),
        }
    }

    /// Returns the modules that a module depends on.
    fn needs(&self, module: &Module) -> BTreeSet<Module> {
        const REEXPORTS: usize = 8;
        let source = &self.0[module];
        let mut needs = BTreeSet::new();
        let mut add = |path: &[String]| {
            if let Some((found, rest)) = self.resolve(module, path, REEXPORTS)
                && !rest.is_empty()
            {
                needs.insert(found);
            }
        };
        for import in &source.imports {
            // What a module hands on is not its own need.
            if import.is_public {
                continue;
            }
            add(&import.path);
            let found = self.resolve(module, &import.path, REEXPORTS);
            if found.is_none_or(|(_, rest)| !rest.is_empty()) {
                continue;
            }
            // Names behind an imported module.
            let marker = format!("{}::", import.name);
            for (at, _) in source.rest.match_indices(&marker) {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                if source.rest[..at].ends_with(is_part) {
                    continue;
                }
                let name = &source.rest[at + marker.len()..];
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = &name[..end.unwrap_or(name.len())];
                add(&[&import.path[..], &[name.to_owned()]].concat());
            }
        }
        for found in INLINE.find_iter(&source.rest) {
            add(&parts(found.as_str()));
        }
        needs.remove(module);
        needs
    }

    /// Returns what each module depends on.
    fn graph(&self) -> Graph {
        let modules = self.0.keys();
        modules.map(|it| (it.clone(), self.needs(it))).collect()
    }
}

/// Returns what each direct child of `parent` depends on among the other children, with all that is below them.
fn between_children(graph: &Graph, parent: &[String]) -> Graph {
    let child = |module: &Module| {
        let is_below = module.len() > parent.len() && module.starts_with(parent);
        is_below.then(|| module[..=parent.len()].to_vec())
    };
    let mut between = Graph::new();
    for (module, needs) in graph {
        let Some(own) = child(module) else { continue };
        let others = needs.iter().filter_map(child).filter(|it| *it != own);
        let others: BTreeSet<_> = others.collect();
        between.entry(own).or_default().extend(others);
    }
    between
}

/// Returns a circle, if there is one.
fn circle(graph: &Graph) -> Option<Vec<Module>> {
    let mut done = BTreeSet::new();
    for (start, needs) in graph {
        // The modules on the way from `start`, each with those that it needs and that were not visited yet.
        let mut way: Vec<(&Module, Vec<&Module>)> = vec![(start, needs.iter().collect())];
        while let Some((module, open)) = way.last_mut() {
            let module = *module;
            let Some(next) = open.pop() else {
                done.insert(module);
                way.pop();
                continue;
            };
            if done.contains(next) {
                continue;
            }
            if let Some(at) = way.iter().position(|(module, _)| *module == next) {
                let circle = way[at..].iter().map(|(module, _)| (*module).clone());
                return Some(circle.collect());
            }
            let (next, all) = graph.get_key_value(next).unwrap();
            way.push((next, all.iter().collect()));
        }
    }
    None
}

/// Returns a circle of folders and files that lie in one folder, if there is one.
fn circle_of_folders(graph: &Graph) -> Option<Vec<Module>> {
    let parents: BTreeSet<_> = graph.keys().filter_map(|it| it.split_last()).collect();
    let mut parents = parents.into_iter().map(|(_, parent)| parent);
    parents.find_map(|parent| circle(&between_children(graph, parent)))
}

fn shown(circle: &[Module]) -> String {
    let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
    format!("{} -> {}", names.join(" -> "), names[0])
}

fn module_of(file: &Path) -> Module {
    let path: PathBuf = file.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let mut module: Module = parts.collect();
    if module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        module.pop();
    }
    module
}

fn program() -> Program {
    let program = Program::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(program.0.len() > 150, "{} files", program.0.len());
    program
}

/// Returns a program of these modules and their sources.
fn made_of(files: &[(&str, &str)]) -> Program {
    let modules = files.iter().map(|(name, text)| {
        let module = parts(name).into_iter().filter(|it| !it.is_empty());
        (module.collect(), Source::of(text))
    });
    Program(modules.collect())
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    if let Some(circle) = circle(&program().graph()) {
        panic!("{}", shown(&circle));
    }
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    if let Some(circle) = circle_of_folders(&program().graph()) {
        panic!("{}", shown(&circle));
    }
}

#[test]
fn a_circle_is_found_through_reexports_and_inline_paths() {
    let is_circle = |files: &[(&str, &str)]| circle(&made_of(files).graph()).is_some();
    let lib = ("", "pub mod a; pub mod b;");
    let b = ("b", "use super::a::A;\npub struct B(A);");
    assert!(!is_circle(&[lib, ("a", "pub struct A;"), b]));
    assert!(is_circle(&[lib, ("a", "use crate::b::B;"), b]));
    assert!(is_circle(&[lib, ("a", "fn f() -> crate::b::B {}"), b]));
    assert!(is_circle(&[
        lib,
        ("a", "use super::{b::{self, B}, c};\n"),
        b
    ]));
    let hands_on = ("", "mod a; mod b;\npub use b::B;");
    assert!(is_circle(&[hands_on, ("a", "use crate::B;"), b]));
    assert!(!is_circle(&[hands_on, ("a", "// use crate::B;"), b]));
}

#[test]
fn a_circle_of_folders_is_found_at_every_depth() {
    let found = |files: &[(&str, &str)]| {
        let graph = made_of(files).graph();
        assert_eq!(circle(&graph), None, "no circle of files");
        circle_of_folders(&graph).map(|circle| shown(&circle))
    };
    let lib = ("", "pub mod m;");
    let m = ("m", "mod a; mod b;");
    let a = ("m::a", "pub mod low; pub mod high;\npub struct A;");
    let low = ("m::a::low", "pub struct Low;");
    let high = ("m::a::high", "use crate::m::b::B;");
    let b = ("m::b", "use crate::m::a::low::Low;\npub struct B(Low);");
    let circle = found(&[lib, m, a, low, high, b]);
    assert_eq!(circle.as_deref(), Some("m::a -> m::b -> m::a"));
    assert_eq!(found(&[lib, m, a, low, b]), None);
    let within = ("m::a::high", "use super::low::Low;");
    assert_eq!(found(&[lib, m, a, low, within, b]), None);
}
