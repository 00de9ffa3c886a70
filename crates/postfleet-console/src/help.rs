//! `help` and `cluster help`, from the command table.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::answer::Answer;
use crate::command::{exists, strip_words};
use crate::failure::Failure;
use crate::lex::words;
use crate::profile::{Profile, Role};
use crate::table::{Availability, Entry, table};

/// `cluster help`: every command of the family, words without `cluster`.
pub(crate) fn cluster() -> Answer {
    let family = table().iter().filter_map(|entry| {
        let words = entry.words.strip_prefix("cluster ")?;
        Some(two_lines(Entry { words, ..*entry }))
    });
    Answer::Lines(family.flatten().collect())
}

/// `help [<command>]`. Without a topic: the commands that can be run. With one: usage and description, or the
/// list of commands that begin with these words.
pub(crate) fn help(topic: &str, profile: &Profile) -> Result<Answer, Failure> {
    let here = |entry: &&Entry| {
        exists(entry, profile) && !(profile.role == Role::Manager && entry.words.starts_with("cluster "))
    };
    let runs = |entry: &&Entry| matches!(entry.availability, Availability::Ready | Availability::Local);
    if topic.is_empty() {
        let forms = ["xml|json <command>".into(), "    Answer in XML or JSON".into()];
        let all = table().iter().filter(here).filter(runs).flat_map(|entry| two_lines(*entry));
        return Ok(Answer::Lines(all.chain(forms).collect()));
    }
    let given = words(topic).map_err(Failure::unreadable)?;
    let best = table()
        .iter()
        .filter(here)
        .filter(|entry| strip_words(&given, entry.words).is_some_and(<[_]>::is_empty))
        .max_by_key(|entry| entry.words.len());
    let family: Vec<_> = table()
        .iter()
        .filter(here)
        .filter(runs)
        .filter(|entry| entry.words.strip_prefix(topic).is_some_and(|rest| rest.starts_with(' ')))
        .collect();
    match best {
        Some(entry) => match entry.availability {
            Availability::Ready | Availability::Local => Ok(explained(entry, &family)),
            Availability::Later => Err(Failure::not_available(entry.words)),
            Availability::Never => Err(Failure::not_in_this_product(entry.words)),
        },
        None if !family.is_empty() => {
            Ok(Answer::Lines(family.iter().flat_map(|entry| two_lines(**entry)).collect()))
        }
        None => Err(Failure::unknown_command(topic)),
    }
}

fn explained(entry: &Entry, family: &[&Entry]) -> Answer {
    let mut lines =
        Vec::from([entry.grammar().to_string(), String::new(), format!("{}.", entry.description)]);
    if let Some(detail) = detail(entry.words) {
        lines.extend(detail.lines().map(String::from));
    }
    if !family.is_empty() {
        lines.push(String::new());
        lines.extend(family.iter().flat_map(|entry| two_lines(**entry)));
    }
    Answer::Lines(lines)
}

/// What one line in the table cannot say.
fn detail(words: &str) -> Option<&'static str> {
    match words {
        "cluster membership" => Some(
            "One block per member, in membership order: the first that is a node leads.\n\
             -v adds clock offset, heartbeat age and the view that admitted the member, and at the end how long\n\
             a host that dies without a word stays in the view.",
        ),
        "cluster reset" => Some("It disturbs traffic: other members see this node leave and join."),
        "cluster shared show" => Some(
            "Shows what this node knows at this moment and sends nothing.\n\
             from <node> shows that node's own counts; without it, the sum over all members.",
        ),
        "cluster forget" => Some(
            "Throttles and connection limits keep a lost node's part, and what it may still be using, until it is back.\n\
             Say this when it will not come back: its units are free at once and the others share its part.\n\
             Refused while the node is a member.",
        ),
        "cluster shared why" => Some(
            "The key is one that cluster shared show prints; of an object that counts by address, a block.\n\
             A line per member, in membership order: what it uses, holds idle and wants, and when it was last heard.\n\
             ? stands for what the kind does not have, or only that member knows. Then the last grants.",
        ),
        "slot open" => Some(
            "Holds connections open that are none, to try a limit: they use slots like connections of mail do, move to\n\
             nodes that wait, and end with slot close or with the node. Needs a cluster connection limit in the\n\
             configuration of all nodes.",
        ),
        "throttle take" => Some("Uses what is there at once, on this node, and says how much that was."),
        "throttle inc" => {
            Some("Records the units in any case; throttle check tells whether that was too many.")
        }
        "config begin" => Some(
            "Changes are collected and seen by this session alone until config commit.\n\
             from scratch begins with an empty configuration.\n\
             Without a transaction every config set and unset takes effect at once.",
        ),
        "config commit" => Some(
            "The changes are checked together and take effect as a whole or not at all. No file is written;\n\
             config writeback does that. When somebody else has changed the configuration since config begin,\n\
             nothing happens: config replay lists what you typed, config rollback gives it up.",
        ),
        "config diff" => Some(
            "In a transaction: its changes. Otherwise: the changes that config reload would lose and config\n\
             writeback would save. They are printed as commands that make them.",
        ),
        "config digest" => Some(
            "The first line is the digest that this node announces; members of one fleet have the same. Below it\n\
             stands each option with a digest of its own and its value. A difference is logged as CFG-7021.",
        ),
        "config eval" => Some(
            "Looks in the scope named, then in the wider ones, then for the default. The instances need not exist:\n\
             config eval binding b1 domain example.org retry_interval",
        ),
        "config get" => Some(
            "Looks only in the scope named; config eval shows what holds.\n\
             config get domain example.org retry_interval",
        ),
        "config locate" => {
            Some("The regex is looked for in the names of the instances, as text: config locate listen 58.")
        }
        "config reload" => Some(
            "All files are read and checked, and take effect as a whole or not at all. Changes that were made here\n\
             and not written back are lost. With a path that file is the main file, once.",
        ),
        "config set" => Some(
            "Scopes and instances that do not exist are made. A value that contains blanks, #, quotes or brackets\n\
             needs quotes; a list is ( a b ), a dictionary [ k = v ].\n\
             config set domain example.org retry_interval 900\n\
             config set relay_hosts ( 10.0.0.0/8 192.0.2.1 )",
        ),
        "config unset" => Some(
            "The value of a wider scope shows through again. Without an option the scope goes with all that is in it.",
        ),
        "config where" => Some(
            "Shows what config eval shows, where it is set, what counts beside it, and which values it hides.",
        ),
        "config writeback" => Some(
            "Each change goes where it belongs: a value is replaced where it stands, a new one joins its stanza.\n\
             Every other byte stays. Files that may not be written are left alone; Local_Changes_File takes what\n\
             has no other place. With a path all changes are written there and stay unsaved.",
        ),
        "write config" => Some(
            "Includes are flattened and comments left out; options and stanzas that are not read are part of it, an\n\
             open transaction is not. Passwords stand in it in clear; elsewhere they are ***.",
        ),
        "count" => Some(
            "An address or block gives the number of sessions; a mask or a range of masks gives a row per block.\n\
             Only this node is counted; cluster shared show counts the fleet.",
        ),
        "inbound_audit define" => Some(
            "cluster shares it with all members, manager with managers; persist keeps it over an orderly restart,\n\
             once it is defined again; serialize writes its changes to files at each maintenance.\n\
             Policies define their series themselves.",
        ),
        "inbound_audit show ip" => Some(
            "Connections, receptions and rejections by window, 0 the running one: the fleet's where a metrics object\n\
             shares them, else this node's.",
        ),
        "mailq" => Some("Shows 20 rows unless --limit says otherwise."),
        "policy_rule stats" => Some(
            "One line a rule, in the order in which rules are tried: how often it fired and, in shadow mode, how often\n\
             it would have.",
        ),
        "scriptlet" => Some(
            "Written scriptlet:<instance> too; the instance may be left out where there is one. testfile loads a script\n\
             and calls nothing of it. flush cache reads all scripts anew and calls their init; when one cannot be used,\n\
             all stay as they were.",
        ),
        "sieve" => Some(
            "Written sieve:<instance> too; the instance may be left out where there is one. testfile and test compile a\n\
             script for a phase and run nothing. flush cache reads all scripts anew; one that does not compile any\n\
             more stays as it was.",
        ),
        "shutdown" => Some("Listeners close at once; open sessions are given 30 seconds."),
        _ => None,
    }
}

fn two_lines(entry: Entry) -> [String; 2] {
    [entry.grammar().to_string(), format!("    {}", entry.description)]
}
