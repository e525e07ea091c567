//! Options from the command line and the environment.

use std::{
    env,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

/// What the server was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The address to listen on; `None` is every address of the machine.
    pub(crate) host: Option<IpAddr>,
    pub(crate) port: u16,
    /// Where files are read from, instead of the page in the binary.
    pub(crate) static_dir: Option<PathBuf>,
    /// Where other servers are found that are the same chat.
    pub(crate) redis: Option<String>,
}

/// What [`Config::read`] found on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run(Config),
    Help,
}

impl Config {
    /// Reads the arguments of the process, and HOST, PORT and REDIS_URL of its environment.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn read() -> Result<Command, String> {
        Self::parse(env::args().skip(1), |name| env::var(name).ok())
    }

    fn parse(
        mut arguments: impl Iterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Command, String> {
        let from_environment = |name| environment(name).filter(|value| !value.is_empty());
        // Some shells put the machine's name there, which nobody meant for this.
        let usable = |host: &String| parse_host(host).is_ok();
        let mut host = from_environment("HOST").filter(usable);
        let mut port = from_environment("PORT");
        let mut redis = from_environment("REDIS_URL");
        let mut static_dir = None;
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut value = || {
                let value = value.clone().or_else(|| arguments.next());
                value.ok_or_else(|| format!("{name} wants a value; --help lists the options"))
            };
            match &*name {
                "-h" | "--help" => return Ok(Command::Help),
                "--host" => host = Some(value()?),
                "--port" => port = Some(value()?),
                "--redis" => redis = Some(value()?),
                "--static-dir" => static_dir = Some(PathBuf::from(value()?)),
                _ => return Err(format!("there is no option {name}; --help lists them")),
            }
        }
        Ok(Command::Run(Self {
            host: host.as_deref().map(parse_host).transpose()?.flatten(),
            port: port.as_deref().map_or(Ok(DEFAULT_PORT), parse_port)?,
            static_dir,
            redis,
        }))
    }
}

/// What `--help` prints.
pub(crate) const HELP: &str = "\
The Socket.IO tutorial's chat.

Usage: chat-server [OPTIONS]

Options:
      --host <ADDRESS>    IP address to listen on, or `localhost` [env: HOST] [default: all]
      --port <PORT>       Port to listen on; 0 picks a free one [env: PORT] [default: 3000]
      --redis <URL>       Be one chat with all servers at this Redis [env: REDIS_URL]
      --static-dir <DIR>  Serve the files of this folder instead of the page in the binary
  -h, --help              Print this
";

const DEFAULT_PORT: u16 = 3000;

fn parse_host(host: &str) -> Result<Option<IpAddr>, String> {
    match host {
        "*" => Ok(None),
        "localhost" => Ok(Some(IpAddr::from([127, 0, 0, 1]))),
        _ => match host.parse() {
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ok(None),
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(format!("{host:?} is no IP address")),
        },
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    port.parse()
        .map_err(|_| format!("{port:?} is no port (0 to 65535)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
        let find = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        };
        Config::parse(arguments.iter().map(|it| (*it).to_owned()), find)
    }

    fn run(host: Option<[u8; 4]>, port: u16, static_dir: Option<&str>) -> Result<Command, String> {
        Ok(Command::Run(Config {
            host: host.map(IpAddr::from),
            port,
            static_dir: static_dir.map(PathBuf::from),
            redis: None,
        }))
    }

    #[test]
    fn defaults() {
        assert_eq!(parse(&[], &[]), run(None, 3000, None));
        assert_eq!(
            parse(&[], &[("PORT", ""), ("HOST", "")]),
            run(None, 3000, None)
        );
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = [("HOST", "127.0.0.2"), ("PORT", "4000")];
        assert_eq!(
            parse(&[], &environment),
            run(Some([127, 0, 0, 2]), 4000, None)
        );
        let arguments = ["--host", "localhost", "--port=5000", "--static-dir", "www"];
        let expected = run(Some([127, 0, 0, 1]), 5000, Some("www"));
        assert_eq!(parse(&arguments, &environment), expected);
    }

    #[test]
    fn redis_may_be_named_in_both_ways() {
        for (arguments, environment, expected) in [
            (&[][..], &[][..], None),
            (&[], &[("REDIS_URL", "redis://a/")], Some("redis://a/")),
            (
                &["--redis", "redis://b/"],
                &[("REDIS_URL", "redis://a/")],
                Some("redis://b/"),
            ),
        ] {
            let Ok(Command::Run(config)) = parse(arguments, environment) else {
                panic!("{arguments:?}")
            };
            assert_eq!(config.redis.as_deref(), expected);
        }
    }

    #[test]
    fn a_host_in_the_environment_that_is_no_address_is_not_ours() {
        let environment = [("HOST", "x86_64-conda-linux-gnu")];
        assert_eq!(parse(&[], &environment), run(None, 3000, None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, words) in [
            (&["--prot", "1"][..], "--prot"),
            (&["--port"], "--port wants a value"),
            (&["--port", "99999"], "99999"),
            (&["--host", "nowhere"], "nowhere"),
        ] {
            let error = parse(arguments, &[]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(parse(&["--help"], &[]), Ok(Command::Help));
    }
}
