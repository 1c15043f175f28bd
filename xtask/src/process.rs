//! Runs programs: what they may inherit, and what is said when they fail.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

/// The root of the repository.
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// A program that starts in the root of the repository, with an environment that changes nothing.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(disturbs) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a variable changes what our programs do: it leaks source paths into error messages, was set by
/// cargo for this process alone, or directs PostgreSQL's clients and pgrx elsewhere.
fn disturbs(name: &str) -> bool {
    const EXACT: [&str; 7] = [
        "RUST_BACKTRACE",
        "RUST_LIB_BACKTRACE",
        "OUT_DIR",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_PGRX",
    ];
    const PREFIXES: [&str; 4] = ["PG", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_PGRX_"];
    EXACT.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program that runs as root.
pub fn as_root(program: &str) -> anyhow::Result<Command> {
    if opdb_e2e::cluster::is_root()? {
        return Ok(command(program));
    }
    anyhow::ensure!(find("sudo").is_some(), "`{program}` must run as root, and there is no sudo here");
    let mut sudo = command("sudo");
    sudo.arg(program);
    Ok(sudo)
}

/// Runs the command to its end, its output going where ours goes.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", line(command)))?;
    anyhow::ensure!(status.success(), "`{}` ended with {status}", line(command));
    Ok(())
}

/// Runs two commands to their ends, the output of the first being the input of the second, whose own goes nowhere.
pub fn pipe(mut from: Command, mut into: Command) -> anyhow::Result<()> {
    let mut source =
        from.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{}`", line(&from)))?;
    let output = source.stdout.take().context("a pipe has no end to read from")?;
    let read = run(into.stdin(output).stdout(Stdio::null()));
    // It holds the end to read from: with that open, a source that nobody reads waits for ever.
    drop(into);
    let status = source.wait()?;
    read?;
    anyhow::ensure!(status.success(), "`{}` ended with {status}", line(&from));
    Ok(())
}

/// Runs the command to its end and returns what it wrote to its standard output.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run `{}`", line(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "`{}` ended with {}\n{}",
        line(command),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program of this name on `PATH`, or that of this absolute path.
pub fn find(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(&program)).find(|candidate| candidate.is_file())
}

/// The command as a person would read it.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_inherit_no_noise() {
        assert!(["RUST_BACKTRACE", "PGHOST", "PG_VERSION", "CARGO_PKG_NAME"].into_iter().all(disturbs));
        assert!(
            ["PATH", "CARGO_TARGET_DIR", "CARGO_HOME", "RUSTFLAGS"].into_iter().all(|name| !disturbs(name))
        );
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(command("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("`sh -c exit 3` ended with"), "{error}");
    }

    #[test]
    fn a_failure_at_either_end_of_a_pipe_is_told() {
        let shell = |script: &str| {
            let mut shell = command("sh");
            shell.args(["-c", script]);
            shell
        };
        let failure = |from: &str, into: &str| pipe(shell(from), shell(into)).unwrap_err().to_string();
        assert!(pipe(shell("echo 1"), shell("read n && test $n = 1")).is_ok());
        assert!(failure("echo 1; exit 3", "cat").contains("exit 3` ended with"));
        // Much more than a pipe holds, and nobody reads it.
        assert!(failure("yes", "exit 4").contains("exit 4` ended with"));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }
}
