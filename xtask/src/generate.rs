//! `cargo xtask generate`: writes `sql/finalize.sql`, the last SQL of the installation script.
//!
//! The comments that `\df+` shows are the doc comments in the source, so that they cannot differ.

mod functions;

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;

use crate::process::repository;
use functions::Function;

const FINALIZE: &str = "sql/finalize.sql";
const HEADER: &str = "\
-- Written by `cargo xtask generate` from sql/privileges.sql and the doc comments of the SQL functions.
-- Do not edit: change those and run it again.
";

/// Writes the file.
pub fn write() -> anyhow::Result<()> {
    let root = repository();
    fs::write(root.join(FINALIZE), render_for(root)?).with_context(|| format!("cannot write {FINALIZE}"))?;
    println!("wrote {FINALIZE}");
    Ok(())
}

/// Fails if the file is not what [`write`] would write.
pub fn check() -> anyhow::Result<()> {
    let root = repository();
    anyhow::ensure!(
        read(&root.join(FINALIZE))? == render_for(root)?,
        "{FINALIZE} is out of date: run `cargo xtask generate`"
    );
    println!("{FINALIZE} is up to date");
    Ok(())
}

fn render_for(root: &Path) -> anyhow::Result<String> {
    let functions = functions::find(&root.join("src/lib.rs"))?;
    render(&read(&root.join("sql/privileges.sql"))?, functions)
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        result => result.with_context(|| format!("cannot read {}", path.display())),
    }
}

fn render(privileges: &str, mut functions: Vec<Function>) -> anyhow::Result<String> {
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some([a, _]) = functions.array_windows().find(|[a, b]| a.name == b.name) {
        anyhow::bail!("two functions are called {}: COMMENT ON FUNCTION cannot tell them apart", a.name);
    }
    let mut text = HEADER.to_owned();
    if !privileges.trim().is_empty() {
        writeln!(text, "\n{}", privileges.trim())?;
    }
    for Function { name, comment } in functions {
        writeln!(
            text,
            "\nCOMMENT ON FUNCTION opdb.{} IS '{}';",
            identifier(&name),
            comment.replace('\'', "''")
        )?;
    }
    Ok(text)
}

fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, comment: &str) -> Function {
        Function { name: name.into(), comment: comment.into() }
    }

    #[test]
    fn comments_are_sorted_and_quoted_after_the_privileges() {
        let functions = vec![function("b", "It's b."), function("a", "One.\nTwo."), function("C", "c")];
        let text = render("REVOKE ALL;\n", functions).unwrap();
        let body = text.strip_prefix(HEADER).unwrap();
        assert_eq!(
            body,
            "\nREVOKE ALL;\n\
             \nCOMMENT ON FUNCTION opdb.\"C\" IS 'c';\n\
             \nCOMMENT ON FUNCTION opdb.a IS 'One.\nTwo.';\n\
             \nCOMMENT ON FUNCTION opdb.b IS 'It''s b.';\n"
        );
    }

    #[test]
    fn without_privileges_and_functions_only_the_header_is_left() {
        assert_eq!(render("", Vec::new()).unwrap(), HEADER);
    }

    #[test]
    fn functions_of_the_same_name_are_refused() {
        let error = render("", vec![function("f", "x"), function("f", "y")]).unwrap_err();
        assert!(error.to_string().contains("called f"), "{error}");
    }
}
