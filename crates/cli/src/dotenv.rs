//! Defaults from the local stack's `.millrace/env`.

use std::{collections::HashMap, env, fs};

use clap::Command;

/// What the local stack nearest to the current folder wrote about itself.
#[derive(Debug, Default)]
pub(crate) struct Defaults(HashMap<String, String>);

impl Defaults {
    /// Of the current folder or the nearest above it that has one; else nothing.
    pub(crate) fn find() -> Self {
        let found = env::current_dir().ok().and_then(|folder| {
            folder.ancestors().find_map(|folder| fs::read_to_string(folder.join(".millrace/env")).ok())
        });
        Self(found.map(|text| parse(&text)).unwrap_or_default())
    }

    /// Gives every argument whose environment variable is in the file that value as its default. The environment and the
    /// command line win.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| {
            let known = arg.get_env().and_then(|name| name.to_str()).and_then(|name| self.0.get(name));
            match known {
                // Once per process, and needed until its end.
                Some(value) => {
                    let arg = arg.required(false).default_value(&*value.clone().leak());
                    // `--help` is pasted into tickets: what hides its variable's value hides this one too.
                    let is_secret = arg.is_hide_env_values_set();
                    arg.hide_default_value(is_secret)
                }
                None => arg,
            }
        });
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

fn parse(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn the_file_gives_defaults_and_the_command_line_wins() {
        let defaults = Defaults(parse("# the stack\nMILLRACE_TEST_PLACE=here\nOTHER=\"x y\"\n"));
        let command = || {
            let arg = Arg::new("place").long("place").env("MILLRACE_TEST_PLACE").required(true);
            defaults.apply(Command::new("c").subcommand(Command::new("s").arg(arg)))
        };
        let place = |args: &[&str]| {
            let matches = command().try_get_matches_from(args).unwrap();
            matches.subcommand().unwrap().1.get_one::<String>("place").cloned().unwrap()
        };
        assert_eq!(place(&["c", "s"]), "here");
        assert_eq!(place(&["c", "s", "--place", "there"]), "there");
        assert_eq!(defaults.0["OTHER"], "x y");
    }
}
