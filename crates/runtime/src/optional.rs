use clap::{ArgMatches, Command, Error, FromArgMatches, Id};

/// A group of flags that may be left out whole: it is there when a flag is that the group cannot be without.
///
/// `Option<Args>` is not that: clap still asks for what the group requires, and never sees a group that holds other groups.
#[derive(Clone, Debug)]
pub struct Optional<A>(pub Option<A>);

impl<A: clap::Args> clap::Args for Optional<A> {
    fn augment_args(command: Command) -> Command {
        let command = A::augment_args(command);
        required::<A>().into_iter().fold(command, |command, flag| command.mut_arg(flag, |flag| flag.required(false)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}

impl<A: clap::Args> FromArgMatches for Optional<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_there = required::<A>().iter().any(|flag| matches.contains_id(flag.as_str()));
        is_there.then(|| A::from_arg_matches(matches)).transpose().map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags that a group cannot be without.
fn required<A: clap::Args>() -> Vec<Id> {
    let command = A::augment_args(Command::new("group"));
    command.get_arguments().filter(|flag| flag.is_required_set()).map(|flag| flag.get_id().clone()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Clone, Debug, PartialEq, clap::Args)]
    struct Inner {
        #[arg(long)]
        password: Option<String>,
    }

    #[derive(Clone, Debug, PartialEq, clap::Args)]
    struct Server {
        #[arg(long)]
        host: String,
        #[arg(long, required = true, value_delimiter = ',')]
        ports: Vec<u16>,
        #[arg(long, default_value = "plain")]
        protocol: String,
        #[command(flatten)]
        inner: Inner,
    }

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        server: Optional<Server>,
    }

    fn parse(flags: &[&str]) -> Result<Option<Server>, String> {
        let flags = ["program"].iter().chain(flags);
        Program::try_parse_from(flags).map(|program| program.server.0).map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_is_there_whole_or_not_at_all() {
        assert_eq!(parse(&[]), Ok(None));
        let server = parse(&["--host", "h", "--ports", "1,2", "--password", "p"]).unwrap().unwrap();
        assert_eq!(
            (server.host.as_str(), server.ports.as_slice(), server.protocol.as_str()),
            ("h", &[1, 2][..], "plain")
        );
        assert_eq!(server.inner.password.as_deref(), Some("p"));
        let half = parse(&["--ports", "1"]).unwrap_err();
        assert!(half.contains("host"), "{half}");
    }
}
