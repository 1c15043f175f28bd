//! Finds the functions that Rust code offers to SQL, with their doc comments.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Item, ItemFn, ItemMod, Lit, Meta, Token};

/// A function as SQL sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub comment: String,
}

/// The functions of the crate with this root, found by following its modules as the compiler does.
pub fn find(root: &Path) -> anyhow::Result<Vec<Function>> {
    let mut functions = Vec::new();
    let home = root.parent().unwrap_or(Path::new("")).to_owned();
    read_file(root, &home, &mut functions)?;
    Ok(functions)
}

/// Reads a source file whose child modules are in `home`.
fn read_file(path: &Path, home: &Path, functions: &mut Vec<Function>) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
    if !file.attrs.iter().any(is_for_tests) {
        read_items(&file.items, path, home, functions)?;
    }
    Ok(())
}

fn read_items(items: &[Item], path: &Path, home: &Path, functions: &mut Vec<Function>) -> anyhow::Result<()> {
    for item in items {
        match item {
            Item::Fn(item) if !item.attrs.iter().any(is_for_tests) => {
                functions.extend(read_function(item).with_context(|| path.display().to_string())?);
            }
            Item::Mod(item) if !item.attrs.iter().any(is_for_tests) => {
                read_module(item, path, home, functions)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_module(
    module: &ItemMod,
    path: &Path,
    home: &Path,
    functions: &mut Vec<Function>,
) -> anyhow::Result<()> {
    let name = module.ident.unraw().to_string();
    let children = home.join(&name);
    if let Some((_, items)) = &module.content {
        return read_items(items, path, &children, functions);
    }
    let candidates: [PathBuf; 2] = [home.join(format!("{name}.rs")), children.join("mod.rs")];
    let file = candidates
        .iter()
        .find(|file| file.is_file())
        .with_context(|| format!("{}: there is no file for module {name}", path.display()))?;
    read_file(file, &children, functions)
}

/// The SQL function that a Rust function becomes, if it becomes one.
fn read_function(item: &ItemFn) -> anyhow::Result<Option<Function>> {
    let becomes_sql =
        |attribute: &&Attribute| ["pg_extern", "pg_trigger"].iter().any(|name| is_named(attribute, name));
    let Some(attribute) = item.attrs.iter().find(becomes_sql) else {
        return Ok(None);
    };
    let rust_name = item.sig.ident.unraw().to_string();
    let options = options(attribute).with_context(|| format!("attribute of function {rust_name}"))?;
    if options.is_without_sql {
        return Ok(None);
    }
    let comment = doc_comment(&item.attrs);
    anyhow::ensure!(!comment.is_empty(), "function {rust_name} has no doc comment, which `\\df+` would show");
    Ok(Some(Function { name: options.name.unwrap_or(rust_name), comment }))
}

#[derive(Default)]
struct Options {
    name: Option<String>,
    is_without_sql: bool,
}

/// Reads `#[pg_extern(immutable, name = "…", sql = false)]`.
fn options(attribute: &Attribute) -> syn::Result<Options> {
    let mut options = Options::default();
    if matches!(attribute.meta, Meta::Path(_)) {
        return Ok(options);
    }
    for argument in attribute.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)? {
        let Expr::Assign(assignment) = argument else {
            continue;
        };
        let (Expr::Path(left), Expr::Lit(ExprLit { lit, .. })) = (*assignment.left, *assignment.right) else {
            continue;
        };
        match lit {
            Lit::Str(name) if left.path.is_ident("name") => options.name = Some(name.value()),
            Lit::Bool(value) if left.path.is_ident("sql") => options.is_without_sql = !value.value,
            _ => {}
        }
    }
    Ok(options)
}

fn doc_comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Whether the attribute is this one, by whatever path it is called.
fn is_named(attribute: &Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}

/// Whether the attribute is a `cfg` that holds in builds for tests and not in others.
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<Meta>().is_ok_and(|meta| needs_test(&meta))
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(pair) => {
            pair.path.is_ident("feature") && text(&pair.value).as_deref() == Some("pg_test")
        }
        Meta::List(list) if list.path.is_ident("any") || list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|conditions| conditions.iter().any(needs_test)),
        Meta::List(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_source(files: &[(&str, &str)]) -> anyhow::Result<Vec<Function>> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        find(&dir.path().join("lib.rs"))
    }

    fn names(source: &str) -> Vec<String> {
        in_source(&[("lib.rs", source)]).unwrap().into_iter().map(|function| function.name).collect()
    }

    #[test]
    fn the_doc_comment_is_the_comment() {
        let source =
            "/// Tells it.\n///\n///   Twice.  \n#[pg_extern(stable)]\nfn tell() {}\n/// No.\nfn other() {}";
        let expected = Function { name: "tell".into(), comment: "Tells it.\n\nTwice.".into() };
        assert_eq!(in_source(&[("lib.rs", source)]).unwrap(), [expected]);
    }

    #[test]
    fn options_change_what_sql_sees() {
        assert_eq!(
            names("/// x\n#[pg_extern(immutable, name = \"other\", requires = [a, b])]\nfn f() {}"),
            ["other"]
        );
        assert_eq!(names("/// x\n#[pgrx::pg_extern(sql = false)]\nfn f() {}"), [""; 0]);
        assert_eq!(names("/// x\n#[pg_extern]\nfn r#match() {}"), ["match"]);
    }

    #[test]
    fn modules_are_followed_into_files() {
        let function = "/// x\n#[pg_extern]\nfn NAME() {}";
        let found = in_source(&[
            ("lib.rs", "mod a; mod b; #[pg_schema] mod c { mod d; }"),
            ("a.rs", &function.replace("NAME", "in_file")),
            ("b/mod.rs", "mod e;"),
            ("b/e.rs", &function.replace("NAME", "in_directory")),
            ("c/d.rs", &function.replace("NAME", "in_inline")),
        ]);
        let found: Vec<_> = found.unwrap().into_iter().map(|function| function.name).collect();
        assert_eq!(found, ["in_file", "in_directory", "in_inline"]);
    }

    #[test]
    fn tests_are_left_out() {
        let function = "#[pg_extern] fn f() {}";
        for condition in
            ["test", "any(test, feature = \"pg_test\")", "feature = \"pg_test\"", "all(unix, test)"]
        {
            assert_eq!(
                names(&format!("#[cfg({condition})] mod tests {{ {function} }}")),
                [""; 0],
                "{condition}"
            );
        }
        assert_eq!(names(&format!("#[cfg(not(test))] mod m {{ /** x */ {function} }}")), ["f"]);
        assert_eq!(names("#[cfg(test)] mod tests;"), [""; 0]);
    }

    #[test]
    fn a_function_without_a_comment_is_an_error_that_names_it() {
        let error = in_source(&[("lib.rs", "#[pg_extern] fn silent() {}")]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("lib.rs") && text.contains("silent"), "{text}");
    }
}
