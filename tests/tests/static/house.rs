//! Imports within each crate of the project form no cycle, neither between files nor between folders.
//!
//! A file imports from another if its code, without tests, names an item of it by a path that begins with `crate`, `self` or
//! `super`, also within a macro. The file of a module itself (`mod.rs`, `lib.rs`) may combine its children: its paths to these
//! are not imports. The test checks files of a crate, and the entries of each folder, where an entry is a file or a whole
//! folder: so both can be arranged in layers that import only from lower ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use collector_tests::scratch::scratch;
use serde_json::Value;
use syn::visit::{self, Visit};

use crate::purity;
use crate::tidy::{assert_none, packages, root};

/// The project's workspaces.
const WORKSPACES: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

/// Path of a module as its names; empty for the crate itself.
type Module = Vec<String>;

/// A crate from its sources: the file of each module, and the modules that it imports from, with one of the names.
struct Imports {
    files: BTreeMap<Module, PathBuf>,
    edges: BTreeMap<(Module, Module), String>,
    /// Modules that only tests have.
    tests: BTreeSet<Module>,
}

/// What a file contains.
#[derive(Default)]
struct Reader {
    /// The inline modules around the present item.
    inside: Module,
    /// Paths that begin with `crate`, `self` or `super`, and the module where they are.
    paths: Vec<(Module, Vec<String>)>,
    /// Modules that are files, without tests, and the value of `#[path]`.
    modules: Vec<(Module, Option<String>)>,
    tests: Vec<Module>,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let test = |attribute: &syn::Attribute| {
        let text = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        attribute.path().is_ident("cfg") && text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
    };
    attributes.iter().any(test)
}

/// The value of `#[path = "..."]`.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }),
            ..
        }) => path.value(),
        _ => panic!("#[path] without a path"),
    })
}

fn uses(tree: &syn::UseTree, before: &[String], found: &mut Vec<Vec<String>>) {
    let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
    match tree {
        syn::UseTree::Path(path) => uses(&path.tree, &with(&path.ident), found),
        syn::UseTree::Name(name) => found.push(with(&name.ident)),
        syn::UseTree::Rename(name) => found.push(with(&name.ident)),
        syn::UseTree::Glob(_) => found.push(before.to_vec()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| uses(tree, before, found)),
    }
}

impl Reader {
    fn child(&self, module: &syn::ItemMod) -> Module {
        self.inside.iter().cloned().chain([module.ident.to_string()]).collect()
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        match item {
            syn::Item::Mod(module) if is_test(attributes) => self.tests.push(self.child(module)),
            _ if is_test(attributes) => {}
            syn::Item::Mod(module) if module.content.is_none() => {
                self.modules.push((self.child(module), path_attribute(attributes)));
            }
            syn::Item::Mod(module) => {
                self.inside.push(module.ident.to_string());
                visit::visit_item(self, item);
                self.inside.pop();
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        uses(&item.tree, &[], &mut found);
        self.paths.extend(found.into_iter().map(|path| (self.inside.clone(), path)));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.paths.push((self.inside.clone(), names));
        }
        visit::visit_path(self, path);
    }

    /// The arguments of a macro are mere words: the paths among them count.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let found = purity::paths(&call.tokens.to_string());
        let paths = found.into_iter().map(|(_, path)| path.split("::").map(str::to_owned).collect());
        self.paths.extend(paths.map(|path| (self.inside.clone(), path)));
    }
}

/// Path of the file of a child module.
fn file_of(parent: &Path, root: bool, name: &[String]) -> PathBuf {
    let folder = match root || parent.ends_with("mod.rs") {
        true => parent.parent().unwrap().to_owned(),
        false => parent.with_extension(""),
    };
    let path = name.iter().fold(folder, |folder, name| folder.join(name));
    let file = path.with_extension("rs");
    if file.exists() { file } else { path.join("mod.rs") }
}

impl Imports {
    fn read(first: &Path) -> Imports {
        let mut imports = Imports { files: BTreeMap::new(), edges: BTreeMap::new(), tests: BTreeSet::new() };
        let mut said = Vec::new();
        let mut open = vec![(Module::new(), first.to_owned())];
        while let Some((module, path)) = open.pop() {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut reader = Reader::default();
            reader.visit_file(&syn::parse_file(&text).unwrap());
            for (child, at) in reader.modules {
                let file = match at {
                    Some(at) => path.parent().unwrap().join(at),
                    None => file_of(&path, module.is_empty(), &child),
                };
                open.push(([module.clone(), child].concat(), file));
            }
            imports.tests.extend(reader.tests.into_iter().map(|test| [module.clone(), test].concat()));
            imports.files.insert(module.clone(), path);
            said.push((module, reader.paths));
        }
        for (module, paths) in said {
            for (inside, path) in paths {
                let here = [module.clone(), inside].concat();
                let Some((to, name)) = imports.resolve(&here, &path) else { continue };
                if to != module && !to.starts_with(&module) {
                    imports.edges.entry((module.clone(), to)).or_insert(name);
                }
            }
        }
        imports
    }

    /// The module, among those that are files, that a path leads to, and the name that is imported from it.
    fn resolve(&self, here: &[String], path: &[String]) -> Option<(Module, String)> {
        let mut at = match path.first()?.as_str() {
            "crate" => Module::new(),
            "self" | "super" => here.to_vec(),
            _ => return None,
        };
        for name in path {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                name => at.push(name.to_owned()),
            }
        }
        let whole = at.clone();
        if (1..=whole.len()).any(|length| self.tests.contains(&whole[..length])) {
            return None;
        }
        while !self.files.contains_key(&at) {
            at.pop();
        }
        let name = whole.get(at.len()).cloned().unwrap_or_else(|| "*".to_owned());
        Some((at, name))
    }

    /// Imports between the entries of a folder, each with an example of an import between files.
    fn entries(&self, folder: &[String]) -> BTreeMap<(String, String), (Module, Module)> {
        let entry = |module: &Module| module.strip_prefix(folder).and_then(|rest| rest.first()).cloned();
        let between = |(from, to): &(Module, Module)| {
            let (a, b) = (entry(from)?, entry(to)?);
            (a != b).then_some(((a, b), (from.clone(), to.clone())))
        };
        self.edges.keys().filter_map(between).collect()
    }

    /// The imports of each cycle, between files or between the entries of a folder.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for cycle in cycles(self.edges.keys().cloned().collect()) {
            wrong.push(format!("files of {}:", self.name(&[])));
            wrong.extend(cycle.iter().map(|(from, to)| self.show(from, to)));
        }
        for folder in self.files.keys() {
            let entries = self.entries(folder);
            for cycle in cycles(entries.keys().cloned().collect()) {
                wrong.push(format!("entries of {}:", self.name(folder)));
                wrong.extend(cycle.iter().map(|edge| self.show(&entries[edge].0, &entries[edge].1)));
            }
        }
        wrong
    }

    /// Name of a module's file.
    fn name(&self, module: &[String]) -> String {
        let file = &self.files[module];
        file.strip_prefix(root()).unwrap_or(file).display().to_string()
    }

    fn show(&self, from: &Module, to: &Module) -> String {
        let name = &self.edges[&(from.clone(), to.clone())];
        format!("{} imports {name} from {}", self.name(from), self.name(to))
    }
}

/// Cycles, until none is left that shares no import with one of them.
fn cycles<T: Ord + Clone>(mut edges: BTreeSet<(T, T)>) -> Vec<Vec<(T, T)>> {
    let mut found = Vec::new();
    while let Some(nodes) = cycle(&edges) {
        let way: Vec<(T, T)> = nodes.iter().cloned().zip(nodes.iter().cloned().cycle().skip(1)).collect();
        edges.retain(|edge| !way.contains(edge));
        found.push(way);
    }
    found
}

/// The nodes of a cycle, in order, if there is one.
fn cycle<T: Ord + Clone>(edges: &BTreeSet<(T, T)>) -> Option<Vec<T>> {
    let mut left: BTreeSet<T> = edges.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    // A node that imports from no remaining one is in no cycle.
    while let Some(ground) =
        left.iter().find(|node| !edges.iter().any(|(from, to)| from == *node && left.contains(to))).cloned()
    {
        left.remove(&ground);
    }
    let mut way = vec![left.first()?.clone()];
    loop {
        let last = way.last()?;
        let next = edges.iter().find(|(from, to)| from == last && left.contains(to))?.1.clone();
        if let Some(begin) = way.iter().position(|node| *node == next) {
            return Some(way.split_off(begin));
        }
        way.push(next);
    }
}

/// All crates in the workspaces: the root file, and whether it is a library or a program.
fn crates() -> Vec<(PathBuf, bool)> {
    let packages = WORKSPACES.into_iter().flat_map(packages);
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap().clone());
    let kind = |target: &Value| target["kind"][0] != "test" && target["kind"][0] != "custom-build";
    targets.map(|target| (target["src_path"].as_str().unwrap().into(), kind(&target))).collect()
}

#[test]
fn imports_form_no_cycle_between_files_or_folders() {
    let mut found = Vec::new();
    for (first, product) in crates() {
        let imports = Imports::read(&first);
        // Files of tests may well stand alone.
        assert!(imports.files.len() == 1 || !product || !imports.edges.is_empty(), "{first:?} has no imports");
        found.extend(imports.wrong());
    }
    assert_none("imports that form a cycle", &found);
}

#[test]
fn an_import_of_the_project_is_found() {
    let imports = Imports::read(&root().join("collector/src/lib.rs"));
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let edge = (module("source::host::zram"), module("source::kept"));
    assert_eq!(imports.edges.get(&edge).map(String::as_str), Some("KeptFile"));
}

#[test]
fn imports_that_form_a_cycle_are_named() {
    let folder = scratch();
    for (file, text) in [
        ("lib.rs", "mod a; mod b; mod high; mod low; #[cfg(test)] mod test;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "fn b() { println!(\"{}\", crate::a::A); }"),
        ("low/mod.rs", "mod x; mod y;"),
        ("low/x.rs", "use crate::{high::z::Z, test::T};"),
        ("low/y.rs", "pub use super::x::Z; pub struct Y;"),
        ("high/mod.rs", "#[path = \"v.rs\"] mod w; mod z;"),
        ("high/v.rs", "use super::super::low::y::Y;"),
        ("high/z.rs", "pub struct Z;"),
    ] {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }
    let found = Imports::read(&folder.join("lib.rs")).wrong().join("\n");
    let expected = "files of lib.rs:\n\
                    a.rs imports B from b.rs\n\
                    b.rs imports A from a.rs\n\
                    entries of lib.rs:\n\
                    a.rs imports B from b.rs\n\
                    b.rs imports A from a.rs\n\
                    entries of lib.rs:\n\
                    high/v.rs imports Y from low/y.rs\n\
                    low/x.rs imports Z from high/z.rs";
    assert_eq!(found.replace(&format!("{}/", folder.display()), ""), expected);
}

#[test]
fn a_cycle_is_found_with_its_nodes() {
    fn edges(text: &str) -> BTreeSet<(&str, &str)> {
        text.split(' ').map(|edge| edge.split_once('>').unwrap()).collect()
    }
    assert_eq!(cycle(&edges("a>b b>c a>c")), None);
    assert_eq!(cycle(&edges("a>b b>c c>d d>b")), Some(vec!["b", "c", "d"]));
    assert_eq!(cycle(&edges("x>y y>x a>b")), Some(vec!["x", "y"]));
}
