//! Imports within each crate form no cycle, neither between files nor between folders.
//!
//! A file imports from another if its code, without tests, names an item of it by a path that begins with `crate`, `self` or
//! `super`. The file of a module itself (`mod.rs`, `lib.rs`) may combine its children: its paths to these are not imports. The
//! test checks files of a crate, and the entries of each folder, where an entry is a file or a whole folder: so both can be
//! arranged in layers that import only from lower ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The crates of the project, by their root files.
const CRATES: [&str; 7] = [
    "collector-common/src/lib.rs",
    "collector-core/src/lib.rs",
    "collector/src/lib.rs",
    "collector-ebpf/src/main.rs",
    "tests/src/lib.rs",
    "xtask/src/main.rs",
    "tests/nvml/src/lib.rs",
];

/// Path of a module as its names; empty for the crate itself.
type Module = Vec<String>;

/// A crate from its sources: the file of each module, and the modules that it imports from, with one of the names.
struct Imports {
    files: BTreeMap<Module, PathBuf>,
    edges: BTreeMap<(Module, Module), String>,
}

/// What a file contains.
#[derive(Default)]
struct Reader {
    /// The inline modules around the present item.
    inside: Module,
    /// Paths that begin with `crate`, `self` or `super`, and the module where they are.
    paths: Vec<(Module, Vec<String>)>,
    /// Modules that are files, and whether they are tests.
    modules: Vec<(Module, bool)>,
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
            syn::Item::Mod(module) if module.content.is_none() => {
                let name = self.inside.iter().cloned().chain([module.ident.to_string()]).collect();
                self.modules.push((name, is_test(attributes)));
            }
            _ if is_test(attributes) => {}
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
        let mut imports = Imports { files: BTreeMap::new(), edges: BTreeMap::new() };
        let mut said = Vec::new();
        let mut open = vec![(Module::new(), first.to_owned())];
        while let Some((module, path)) = open.pop() {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut reader = Reader::default();
            reader.visit_file(&syn::parse_file(&text).unwrap());
            for (child, _) in reader.modules.into_iter().filter(|(_, test)| !test) {
                let file = file_of(&path, module.is_empty(), &child);
                open.push(([module.clone(), child].concat(), file));
            }
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

    fn show(&self, from: &Module, to: &Module) -> String {
        let name = &self.edges[&(from.clone(), to.clone())];
        let file = |module: &Module| self.files[module].strip_prefix(root()).unwrap().display().to_string();
        format!("{} imports {name} from {}", file(from), file(to))
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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn imports_form_no_cycle_between_files_or_folders() {
    let mut wrong = Vec::new();
    for first in CRATES {
        let imports = Imports::read(&root().join(first));
        for cycle in cycles(imports.edges.keys().cloned().collect()) {
            wrong.push(format!("files of {first}:"));
            wrong.extend(cycle.iter().map(|(from, to)| imports.show(from, to)));
        }
        for folder in imports.files.keys() {
            let entries = imports.entries(folder);
            for cycle in cycles(entries.keys().cloned().collect()) {
                wrong.push(format!("entries of {first} {}:", folder.join("::")));
                wrong.extend(cycle.iter().map(|edge| imports.show(&entries[edge].0, &entries[edge].1)));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that form a cycle:\n  {}", wrong.join("\n  "));
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
