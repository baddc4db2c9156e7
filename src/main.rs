fn main() {
    for k in symbolon::resources::Kind::ALL { std::fs::write(format!("crds/{}.yaml", k.plural()), symbolon::resources::to_yaml(&symbolon::resources::crd(k)).unwrap()).unwrap(); }
}
