//! The command line of `postfleet console`.

use std::time::Duration;

use postfleet_console::Form;

use super::endpoint::{DEFAULT, Endpoint};

/// What the console is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct ConsoleOptions {
    /// Where to connect.
    pub(crate) endpoint: Endpoint,
    /// Who to log in as; password logins are not available in this version.
    pub(crate) user: Option<String>,
    /// Longest time for one command.
    pub(crate) timeout: Duration,
    /// Form asked of every command.
    pub(crate) form: Form,
    /// No banner.
    pub(crate) quiet: bool,
    /// Go on after a failed line.
    pub(crate) go_on: bool,
    /// Template of the prompt.
    pub(crate) prompt: Option<String>,
    /// One command; empty for a session or the lines of standard input.
    pub(crate) command: String,
}

impl Default for ConsoleOptions {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::default(),
            user: None,
            timeout: Duration::from_secs(60),
            form: Form::Text,
            quiet: false,
            go_on: false,
            prompt: None,
            command: String::new(),
        }
    }
}

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Parsed {
    Run(Box<ConsoleOptions>),
    /// Print this and stop.
    Show(String),
}

/// Reads arguments and environment. Options stand before the command, whose own options are left alone; the endpoint, if a
/// word looks like one, before, after or between them.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Parsed, String> {
    let variable = |name: &str| {
        [format!("POSTFLEET_{name}"), format!("EC_{name}")]
            .iter()
            .filter_map(|name| environment(name))
            .find(|value| !value.is_empty())
    };
    let mut options = ConsoleOptions {
        user: variable("CONSOLE_USER"),
        prompt: variable("CONSOLE_PROMPT"),
        ..ConsoleOptions::default()
    };
    let mut endpoint = None;
    let mut arguments = arguments.into_iter().peekable();
    let mut ended = false;
    loop {
        let is_option = |word: &String| !ended && word.len() > 1 && word.starts_with('-');
        let Some(option) = arguments.next_if(is_option) else {
            match arguments.peek().and_then(|word| Endpoint::recognise(word)) {
                Some(recognised) if endpoint.is_none() => endpoint = Some(recognised?),
                Some(_) | None => break,
            }
            arguments.next();
            continue;
        };
        // `-t5` and `--prompt=…` carry their value.
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) if option.starts_with("--") => (name.to_string(), Some(value.to_string())),
            _ if option.starts_with("--") || option.len() == 2 => (option.clone(), None),
            _ => match option.char_indices().nth(2) {
                Some((at, _)) => (
                    option.get(..at).unwrap_or_default().to_string(),
                    option.get(at..).map(|value| value.trim_start_matches('=').to_string()),
                ),
                None => (option.clone(), None),
            },
        };
        let mut value = || {
            inline.clone().or_else(|| arguments.next()).ok_or_else(|| format!("option {name} needs a value"))
        };
        match name.as_str() {
            "--" => ended = true,
            "-e" | "--endpoint" => endpoint = Some(named_endpoint(&value()?)?),
            "-u" | "--user" => options.user = Some(value()?),
            "-t" | "--timeout" => options.timeout = seconds(&value()?)?,
            "--prompt" => options.prompt = Some(value()?),
            _ if inline.is_some() => return Err(format!("unknown option '{option}'")),
            "-x" | "--xml" => options.form = Form::Xml,
            "-j" | "--json" => options.form = Form::Json,
            "-q" | "--quiet" => options.quiet = true,
            "-c" | "--continue" => options.go_on = true,
            "-V" | "--version" => {
                return Ok(Parsed::Show(format!("postfleet console {}\n", env!("CARGO_PKG_VERSION"))));
            }
            "-h" | "--help" => return Ok(Parsed::Show(HELP.into())),
            _ => return Err(format!("unknown option '{option}'")),
        }
    }
    let endpoint = match (endpoint, variable("CONSOLE_ENDPOINT")) {
        (Some(endpoint), _) => endpoint,
        (None, Some(named)) => named_endpoint(&named)?,
        (None, None) => Endpoint::default(),
    };
    let command = arguments.collect::<Vec<_>>().join(" ");
    if command.contains(['\n', '\r']) {
        return Err("a command is one line".into());
    }
    Ok(Parsed::Run(Box::new(ConsoleOptions { endpoint, command, ..options })))
}

fn named_endpoint(word: &str) -> Result<Endpoint, String> {
    Endpoint::recognise(word).unwrap_or_else(|| {
        Err(format!("'{word}' is no endpoint; expected /path/to/socket, host:port or [IPv6 address]:port"))
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no timeout; expected seconds, from 0.001 to 86400");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

const _: () = assert!(DEFAULT.len() == 9, "the help below names the default");

const HELP: &str = "\
Usage: postfleet console [options] [endpoint] [options] [command...]

Without a command: a session at the terminal, or one command per line of standard input.

Endpoints:
  /path/to/socket         Unix socket (default /tmp/2025); ./ and ../ begin a path too
  host:port, [v6]:port    TCP

Options:
  -e, --endpoint ENDPOINT the endpoint, as an option
  -t, --timeout SECONDS   longest time for one command (60)
  -j, --json              ask every command for JSON
  -x, --xml               ask every command for XML
  -c, --continue          go on after a failed line
  -q, --quiet             no banner
      --prompt TEMPLATE   %t time, %p product, %e and %E short and full endpoint, %n node
  -u, --user USER         log in as USER (not available in this version)
  -V, --version           show the version
  -h, --help              show this

Environment: POSTFLEET_CONSOLE_ENDPOINT, POSTFLEET_CONSOLE_USER, POSTFLEET_CONSOLE_PROMPT (EC_ for POSTFLEET_ works
when these are not set), PAGER, NO_COLOR

Exit codes: 0 done, 1 the command failed, 2 wrong use or unknown command, 3 no connection, 4 no login,
5 not authorized, 6 connection lost or timed out with the outcome unknown
";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str], environment: &[(&str, &str)]) -> Result<ConsoleOptions, String> {
        let environment = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        };
        match parse(arguments.iter().map(ToString::to_string), environment)? {
            Parsed::Run(options) => Ok(*options),
            Parsed::Show(text) => Err(text),
        }
    }

    #[test]
    fn console_s1_1_the_first_word_is_an_endpoint_only_if_it_looks_like_one() {
        let check = |arguments: &[&str], endpoint: &str, command: &str| {
            let found = options(arguments, &[]).unwrap();
            assert_eq!((found.endpoint.to_string().as_str(), found.command.as_str()), (endpoint, command));
        };
        check(&[], "/tmp/2025", "");
        check(&["summary"], "/tmp/2025", "summary");
        check(&["sieve:sieve1", "stats"], "/tmp/2025", "sieve:sieve1 stats");
        check(&["/run/x", "cluster", "info"], "/run/x", "cluster info");
        check(&["-e", "127.0.0.1:2025", "/run/x"], "127.0.0.1:2025", "/run/x");
        check(&["/run/x", "-j", "cluster", "info", "-v"], "/run/x", "cluster info -v");
        check(&["./control", "pid"], "./control", "pid");
        check(&["--", "../control", "-j"], "../control", "-j");
        check(&["-t", "5", "[::1]:2025", "mailq", "-l", "3"], "[::1]:2025", "mailq -l 3");
    }

    #[test]
    fn options_and_environment() {
        let found = options(
            &["-j", "-q", "-c", "-t2.5", "--prompt=%t> ", "pid"],
            &[("POSTFLEET_CONSOLE_PROMPT", "x")],
        )
        .unwrap();
        assert_eq!(found.form, Form::Json);
        assert!(found.quiet && found.go_on);
        assert_eq!(found.timeout, Duration::from_millis(2500));
        assert_eq!(found.prompt.as_deref(), Some("%t> "));
        let environment = [("EC_CONSOLE_ENDPOINT", "/b"), ("POSTFLEET_CONSOLE_ENDPOINT", "/a")];
        assert_eq!(options(&[], &environment).unwrap().endpoint.to_string(), "/a");
        assert_eq!(options(&[], &environment[..1]).unwrap().endpoint.to_string(), "/b");
        assert_eq!(options(&["/c"], &environment).unwrap().endpoint.to_string(), "/c");
    }

    #[test]
    fn wrong_arguments_say_what_was_expected() {
        for (arguments, words) in [
            (&["-z"][..], "unknown option '-z'"),
            (&["-qj"], "unknown option '-qj'"),
            (&["-t"], "option -t needs a value"),
            (&["-t", "soon"], "expected seconds"),
            (&["-e", "2025"], "expected /path/to/socket"),
            (&["[::1]"], "expected [IPv6 address]:port"),
            (&["a\nb"], "one line"),
        ] {
            let problem = options(arguments, &[]).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
