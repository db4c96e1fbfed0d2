//! The drawing of the house: which file imports from which, and that no arrow runs in a circle.
//!
//! A file imports from another if its code, tests left out, names an item of it by a path that begins with `crate`, `self` or
//! `super`. A module's own file (`mod.rs`, `lib.rs`) may put its children together: what it names of these is no arrow. Two things
//! must hold: the files of a crate form no circle, and neither do the rooms of a folder, each a file or a whole folder, so that
//! they can be drawn on floors with every arrow pointing down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The crates of the project, by the file that each begins with.
const CRATES: [&str; 7] = [
    "collector-common/src/lib.rs",
    "collector-core/src/lib.rs",
    "collector/src/lib.rs",
    "collector-ebpf/src/main.rs",
    "tests/src/lib.rs",
    "xtask/src/main.rs",
    "tests/nvml/src/lib.rs",
];

/// A module by the names that lead to it; the crate itself has none.
type Module = Vec<String>;

/// A crate as its sources have it: of each module its file, and which modules it imports from, with one of the names.
struct House {
    files: BTreeMap<Module, PathBuf>,
    arrows: BTreeMap<(Module, Module), String>,
}

/// What one file says.
#[derive(Default)]
struct Reader {
    /// The inline modules that we are in.
    inside: Module,
    /// Paths that begin with `crate`, `self` or `super`, and where.
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

/// Where the file of a child module is.
fn file_of(parent: &Path, root: bool, name: &[String]) -> PathBuf {
    let folder = match root || parent.ends_with("mod.rs") {
        true => parent.parent().unwrap().to_owned(),
        false => parent.with_extension(""),
    };
    let path = name.iter().fold(folder, |folder, name| folder.join(name));
    let file = path.with_extension("rs");
    if file.exists() { file } else { path.join("mod.rs") }
}

impl House {
    fn read(first: &Path) -> House {
        let mut house = House { files: BTreeMap::new(), arrows: BTreeMap::new() };
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
            house.files.insert(module.clone(), path);
            said.push((module, reader.paths));
        }
        for (module, paths) in said {
            for (inside, path) in paths {
                let here = [module.clone(), inside].concat();
                let Some((to, name)) = house.resolve(&here, &path) else { continue };
                if to != module && !to.starts_with(&module) {
                    house.arrows.entry((module.clone(), to)).or_insert(name);
                }
            }
        }
        house
    }

    /// The file's module that a path leads to, and the name that is taken from it.
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

    /// The arrows between the rooms of a folder: its files, and its folders as a whole. Each with an arrow of files to show.
    fn rooms(&self, folder: &[String]) -> BTreeMap<(String, String), (Module, Module)> {
        let room = |module: &Module| module.strip_prefix(folder).and_then(|rest| rest.first()).cloned();
        let between = |(from, to): &(Module, Module)| {
            let (a, b) = (room(from)?, room(to)?);
            (a != b).then_some(((a, b), (from.clone(), to.clone())))
        };
        self.arrows.keys().filter_map(between).collect()
    }

    fn show(&self, from: &Module, to: &Module) -> String {
        let name = &self.arrows[&(from.clone(), to.clone())];
        let file = |module: &Module| self.files[module].strip_prefix(root()).unwrap().display().to_string();
        format!("{} takes {name} from {}", file(from), file(to))
    }
}

/// Circles, until none is left that shares no arrow with one of them.
fn circles<T: Ord + Clone>(mut arrows: BTreeSet<(T, T)>) -> Vec<Vec<(T, T)>> {
    let mut found = Vec::new();
    while let Some(nodes) = circle(&arrows) {
        let way: Vec<(T, T)> = nodes.iter().cloned().zip(nodes.iter().cloned().cycle().skip(1)).collect();
        arrows.retain(|arrow| !way.contains(arrow));
        found.push(way);
    }
    found
}

/// The nodes of a circle, in its order, if there is one.
fn circle<T: Ord + Clone>(arrows: &BTreeSet<(T, T)>) -> Option<Vec<T>> {
    let mut left: BTreeSet<T> = arrows.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    // Whoever imports from nobody that is left is in no circle.
    while let Some(ground) =
        left.iter().find(|node| !arrows.iter().any(|(from, to)| from == *node && left.contains(to))).cloned()
    {
        left.remove(&ground);
    }
    let mut way = vec![left.first()?.clone()];
    loop {
        let last = way.last()?;
        let next = arrows.iter().find(|(from, to)| from == last && left.contains(to))?.1.clone();
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
fn no_import_runs_in_a_circle_between_files_or_between_rooms() {
    let mut wrong = Vec::new();
    for first in CRATES {
        let house = House::read(&root().join(first));
        for circle in circles(house.arrows.keys().cloned().collect()) {
            wrong.push(format!("files of {first}:"));
            wrong.extend(circle.iter().map(|(from, to)| house.show(from, to)));
        }
        for folder in house.files.keys() {
            let rooms = house.rooms(folder);
            for circle in circles(rooms.keys().cloned().collect()) {
                wrong.push(format!("rooms of {first} {}:", folder.join("::")));
                wrong.extend(circle.iter().map(|arrow| house.show(&rooms[arrow].0, &rooms[arrow].1)));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run in a circle:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_circle_is_found_with_its_nodes() {
    fn arrows(text: &str) -> BTreeSet<(&str, &str)> {
        text.split(' ').map(|arrow| arrow.split_once('>').unwrap()).collect()
    }
    assert_eq!(circle(&arrows("a>b b>c a>c")), None);
    assert_eq!(circle(&arrows("a>b b>c c>d d>b")), Some(vec!["b", "c", "d"]));
    assert_eq!(circle(&arrows("x>y y>x a>b")), Some(vec!["x", "y"]));
}
