//! The recipes of docs/verifiers.md: code blocks that follow a mark.

/// Every recipe of the page. Each is run by a test, and a test compares this list with the page.
pub(crate) const RECIPES: [&str; 23] = [
    "node-jose",
    "node-openid-client",
    "python-pyjwt",
    "python-authlib",
    "python-introspection",
    "go-oidc",
    "spring-client",
    "spring-jwt",
    "spring-at-jwt",
    "spring-opaque",
    "apache-openidc",
    "apache-oauth2",
    "oauth2-proxy",
    "oauth2-proxy-client",
    "oauth2-proxy-people",
    "oauth2-proxy-sign-out",
    "kafka",
    "strimzi",
    "kube-apiserver",
    "kube-apiserver-client",
    "kube-apiserver-people",
    "kubectl-people",
    "openbao",
];

/// The text of the page.
pub(crate) fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verifiers.md");
    std::fs::read_to_string(path).unwrap()
}

/// The code of a recipe.
pub(crate) fn recipe(name: &str) -> String {
    assert!(RECIPES.contains(&name), "{name} is not listed");
    let page = page();
    let mark = format!("<!-- recipe:{name} -->\n```");
    let (_, rest) = page.split_once(&mark).unwrap();
    let (_, code) = rest.split_once('\n').unwrap();
    let (code, _) = code.split_once("```").unwrap();
    code.to_owned()
}
