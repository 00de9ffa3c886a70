//! What happens stands in the text logs, line by line, and logs never hold up mail.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/remote.rs"]
mod remote;
mod support;

use remote::{MailServer, name_server};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Client, PROGRAM, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

const ZONE: &str = "example.net MX 10 mx.example.net\nclient.example MX 10 mx.example.net\nmx.example.net A 127.0.0.1\n\
    null.example MX 0";

/// All logs of a node in its folder.
const LOGGERS: &str = "ec_logger \"main\" {
  mainlog = \"{dir}/mainlog\" rejectlog = \"{dir}/rejectlog\" paniclog = \"{dir}/paniclog\" acctlog = \"{dir}/acctlog\"
  mainlog_mode = 0640
}
bounce_logger \"bounces\" { bouncelog = \"{dir}/bouncelog\" }";

fn node(loggers: &str, more: &str) -> SingleNode {
    SingleNode::start(&format!("Relay_Hosts = ( 127.0.0.0/8 )\n{loggers}\n{more}"), "", "")
}

/// A node that delivers to the server.
fn relay(server: &MailServer, loggers: &str) -> SingleNode {
    let more = format!(
        "Remote_SMTP_Port = {}\nResolv_Conf = \"{{dir}}/resolv\"\nSuspend_Delivery = false\nIdle_Timeout = 1",
        server.port
    );
    let node = node(loggers, &more);
    std::fs::write(node.dir.path().join("resolv"), format!("nameserver {}\n", name_server(ZONE))).unwrap();
    let reloaded = node.console("config reload");
    assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    node
}

/// What a command says that fails: it must.
fn refused(node: &SingleNode, command: &str) -> String {
    let output = support::console(&node.control, command);
    assert!(!output.status.success(), "{command}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn path(node: &SingleNode, name: &str) -> PathBuf {
    node.dir.path().join(name)
}

fn lines(node: &SingleNode, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(node, name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The lines of a log, once it has so many of them besides heartbeats.
fn wait_lines(node: &SingleNode, name: &str, count: usize) -> Vec<String> {
    let found = || -> Vec<String> {
        let all = lines(node, name).into_iter();
        all.filter(|line| !line.ends_with("@M1") && !line.ends_with("Marker 1")).collect()
    };
    wait_until(PATIENCE, &format!("{name} has {count} lines"), || found().len() >= count);
    let found = found();
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

/// The fields of a line; the last one may hold `@`.
fn fields(line: &str, count: usize) -> Vec<&str> {
    let fields: Vec<&str> = line.splitn(count, '@').collect();
    assert_eq!(fields.len(), count, "{line}");
    fields
}

fn is_id(text: &str) {
    let form: String = text.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect();
    assert!(form.starts_with("00/00-0") && form.ends_with("-00000000"), "{text}");
    assert_ne!(text, "00/00-00000-00000000");
}

fn is_time(text: &str) {
    assert!(text.parse::<u64>().unwrap() > 1_700_000_000, "{text}");
}

fn is_decimal(text: &str, digits: usize) {
    let (whole, fraction) = text.split_once('.').unwrap();
    assert!(
        whole.parse::<u64>().is_ok() && fraction.parse::<u64>().is_ok() && fraction.len() == digits,
        "{text}"
    );
}

#[test]
fn logging_14_1_receptions_deliveries_and_failures_line_by_line() {
    let server = MailServer::start(|recipient| match recipient.split('@').next().unwrap() {
        "gone" => "550 5.1.1 <gone@example.net> unknown",
        "later" => "451 4.2.0 try later",
        _ => "250 2.1.5 ok",
    });
    let node = relay(&server, LOGGERS);
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    let all = wait_lines(&node, "mainlog", 2);
    let (r, d) = (fields(&all[0], 14), fields(&all[1], 12));
    is_time(r[0]);
    (1..=3).for_each(|at| is_id(r[at]));
    assert_eq!(r[4], "R");
    assert_eq!(&r[5..10], ["somebody", "example.net", "sender", "client.example", "127.0.0.1"]);
    let octets: u64 = r[10].parse().unwrap();
    assert!(octets > 100, "{octets}");
    assert_eq!(&r[11..], ["esmtp", "default", "default"]);
    // The same message, transaction and connection.
    assert_eq!((&d[1..4], d[4]), (&r[1..4], "D"));
    assert_eq!(&d[5..10], ["example.net", r[10], "default", "default", "0"]);
    is_decimal(d[10], 3);
    assert_eq!(d[11], "127.0.0.1");

    client.message("gone@example.net", "hello").unwrap();
    // The bounce is received and delivered as well.
    let all = wait_lines(&node, "mainlog", 6);
    let r = fields(&all[2], 14);
    let p = fields(&all[3], 14);
    assert_eq!((&p[1..4], p[4]), (&r[1..4], "P"));
    assert_eq!((p[5], &p[7..11]), ("example.net", &["default", "default", "5", "0"][..]));
    assert!(p[6].parse::<u64>().unwrap() > 40, "{}", p[6]);
    is_decimal(p[11], 2);
    assert_eq!(&p[12..], ["127.0.0.1", "550 5.1.1 <gone@example.net> unknown"]);
    let r = fields(&all[4], 14);
    assert_eq!((r[3], r[4]), ("00/00-00000-00000000", "R"));
    assert_eq!(&r[5..10], ["sender", "client.example", "", "", "unknown"]);
    assert_eq!(r[11], "internal");
    assert_eq!(fields(&all[5], 12)[4], "D");

    let b = wait_lines(&node, "bouncelog", 1);
    let b = fields(&b[0], 16);
    assert_eq!((&b[1..4], b[4]), (&p[1..4], "B"));
    assert_eq!(
        &b[5..13],
        ["gone", "example.net", "sender", "client.example", "default", "default", "5", "10"]
    );
    assert_eq!(&b[14..], ["127.0.0.1", "550 5.1.1 <gone@example.net> unknown"]);

    client.message("later@example.net", "hello").unwrap();
    let all = wait_lines(&node, "mainlog", 8);
    let t = fields(&all[7], 14);
    assert_eq!((t[4], t[10], t[13]), ("T", "0", "451 4.2.0 try later"));
    let bounces = wait_lines(&node, "bouncelog", 2);
    let b = fields(&bounces[1], 16);
    assert_eq!((b[4], b[12], b[15]), ("T", "70", "451 4.2.0 try later"));
    // Nobody had to be asked: no connection, no address.
    client.message("somebody@null.example", "hello").unwrap();
    let all = wait_lines(&node, "mainlog", 12);
    let p = all
        .iter()
        .map(|line| line.splitn(14, '@').collect::<Vec<_>>())
        .find(|p| p[4] == "P" && p[5] == "null.example");
    let p = p.unwrap();
    assert_eq!((p[6], p[9], p[12]), ("0", "0", "0.0.0.0"));
    assert_eq!(p[13], "556 5.1.10 [internal] NULL MX domain does not accept mail");

    use std::os::unix::fs::PermissionsExt as _;
    let mode = |name| std::fs::metadata(path(&node, name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("mainlog"), mode("bouncelog")), (0o640, 0o644));
}

#[test]
fn logging_a35_a_quoted_local_part_is_escaped() {
    let node = node(LOGGERS, "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("\"a@b\"@example.com", "hello").unwrap();
    let all = wait_lines(&node, "mainlog", 1);
    assert!(all[0].contains("@R@\"a\\@b\"@example.com@sender@client.example@"), "{}", all[0]);
}

#[test]
fn logging_16_rotation_under_load_loses_no_line() {
    const FILES: usize = 8;
    let node = node(LOGGERS, "");
    let (done, address) = (AtomicBool::new(false), node.smtp.clone());
    let sent: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(&address).unwrap();
                    let mut sent = 0;
                    while !done.load(Ordering::Relaxed) {
                        client.message("somebody@example.net", "hello").unwrap();
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        for number in 1..FILES {
            // Each file has lines before it is moved away.
            wait_until(PATIENCE, "lines are written", || !lines(&node, "mainlog").is_empty());
            std::fs::rename(path(&node, "mainlog"), path(&node, &format!("mainlog.{number}"))).unwrap();
            let told = if number % 2 == 0 { "reopen logs" } else { "ec_logger:main reopen logs" };
            assert_eq!(node.console(told), "Logs reopened.\n");
        }
        done.store(true, Ordering::Relaxed);
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    let count = || {
        let rotated = (1..FILES).map(|number| lines(&node, &format!("mainlog.{number}")).len());
        rotated.sum::<usize>() + lines(&node, "mainlog").len()
    };
    wait_until(PATIENCE, "every message has its line", || count() >= sent);
    let mut ids: Vec<String> = Vec::new();
    for name in (1..FILES).map(|number| format!("mainlog.{number}")).chain(["mainlog".into()]) {
        for line in lines(&node, &name) {
            assert_eq!(fields(&line, 14)[4], "R");
            ids.push(fields(&line, 14)[1].to_owned());
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), count()), (sent, sent));
    let shown = node.console("show logs");
    let row = shown.lines().find(|line| line.contains("/mainlog: ")).unwrap();
    assert!(row.ends_with(&format!("/mainlog: {sent} written, 0 waiting, 0 lost")), "{shown}");
}

#[test]
fn logging_16b_sighup_opens_files_again() {
    let node = node(LOGGERS, "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    wait_lines(&node, "mainlog", 1);
    std::fs::rename(path(&node, "mainlog"), path(&node, "mainlog.1")).unwrap();
    let pid = std::fs::read_to_string(path(&node, "pid")).unwrap();
    assert!(Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap().success());
    wait_until(PATIENCE, "the file is there again", || path(&node, "mainlog").exists());
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    wait_lines(&node, "mainlog", 1);
    assert_eq!(lines(&node, "mainlog.1").len(), 1);
}

#[test]
fn logging_14_3_rejections() {
    let node = SingleNode::start(&format!("Relay_Domains = ( \"example.net\" )\n{LOGGERS}"), "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO client.example").unwrap();
    client.command("MAIL FROM:<a@client.example>").unwrap();
    let reply = client.command("RCPT TO:<somebody@elsewhere.example>").unwrap();
    assert!(reply.starts_with('5'), "{reply}");
    let all = wait_lines(&node, "rejectlog", 1);
    let (time, rest) = all[0].split_once(": ").unwrap();
    is_time(time);
    let (ends, rest) = rest.split_once(" C=\"").unwrap();
    let (remote, local) = ends.split_once(' ').unwrap();
    assert!(remote.starts_with("R=\"127.0.0.1:"), "{}", all[0]);
    assert_eq!(local, format!("L=\"{}\"", node.smtp));
    let (id, rest) = rest.split_once("\" ").unwrap();
    is_id(id);
    let told = reply.trim_end().get(4..).unwrap();
    assert_eq!(
        rest,
        format!(
            "PATH=\"default\" PATH_GRP=\"default\" P=\"relaying denied\" E={} M= CTXCONN=[] CTXMESS=[] {told}",
            &reply[..3]
        )
    );
    assert!(lines(&node, "mainlog").iter().all(|line| line.ends_with("@M1")));
}

#[test]
fn logging_14_3_contexts_and_the_module_that_ran_last() {
    let script = "local mod = {};\nfunction mod:validate_mailfrom(sender, accept, vctx)\n  \
        vctx:set(msys.core.VCTX_MESS, \"zeta\", \"a b\");\n  vctx:set(msys.core.VCTX_MESS, \"alpha\", \"1\");\n  \
        vctx:set_code(554, \"no access for you\");\n  return msys.core.VALIDATE_DONE;\nend;\nmsys.registerModule(\"x\", mod);\n";
    let scripts = tempfile::tempdir().unwrap();
    let file = scripts.path().join("x.lua");
    std::fs::write(&file, script).unwrap();
    let policy = format!("scriptlet \"s\" {{ script \"x\" {{ source = \"{}\" }} }}", file.display());
    let node = node(&format!("{LOGGERS}\n{policy}"), "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO client.example").unwrap();
    assert!(client.command("MAIL FROM:<>").unwrap().starts_with("554"));
    let all = wait_lines(&node, "rejectlog", 1);
    let (_, rest) = all[0].split_once(" P=").unwrap();
    assert!(rest.starts_with("\"awaiting mailfrom\" E=554 M=scriptlet CTXCONN=["), "{rest}");
    assert!(
        rest.contains("ehlo_string=\"EHLO client.example\"") && rest.contains("ehlo_domain=client.example"),
        "{rest}"
    );
    let (_, message) = rest.split_once("CTXMESS=[").unwrap();
    assert!(message.contains("mailfrom_string=\"MAIL FROM:<>\""), "{message}");
    assert!(message.contains("zeta=\"a b\",alpha=1"), "{message}");
    assert!(message.ends_with("] no access for you"), "{message}");
}

#[test]
fn logging_14_4_and_14_5_starts_logins_and_debug_flags() {
    let node = node(LOGGERS, "");
    let panics = wait_lines(&node, "paniclog", 1);
    let (time, text) = panics[0].split_once(':').unwrap();
    is_time(time);
    let pid = std::fs::read_to_string(path(&node, "pid")).unwrap();
    assert_eq!(text, format!("node: node solo is up, process {}", pid.trim()));
    wait_until(PATIENCE, "consoles are in the acctlog", || !lines(&node, "acctlog").is_empty());
    let account = &lines(&node, "acctlog")[0];
    let account = fields(account, 6);
    is_time(account[0]);
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    assert_eq!(&account[1..], ["N", node.control.to_str().unwrap(), "", user.trim(), "1"]);

    // More is written when it is asked for.
    let changed = node.console("config set debug_flags info ( NET )");
    assert!(changed.contains("NET"), "{changed}");
    node.console("config get hostname");
    wait_until(PATIENCE, "the console's command is written", || {
        lines(&node, "paniclog").iter().any(|line| line.ends_with(": config get hostname"))
    });
    let line = lines(&node, "paniclog").pop().unwrap();
    assert!(line.contains(&format!(":control: {}: config ", user.trim())), "{line}");
    let last = node.console("paniclog");
    assert!(last.lines().any(|line| line.contains("] [notice] node solo is up, process ")), "{last}");
}

/// A server that says the first of these to whoever comes, and the next one to each line. Its port.
fn scripted(replies: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut out = stream.try_clone().unwrap();
            let mut lines = BufReader::new(stream).split(b'\n');
            for reply in replies {
                if out.write_all(reply).is_err() || lines.next().is_none() {
                    break;
                }
            }
        }
    });
    port
}

fn gateway(port: u16, more: &str) -> SingleNode {
    let more = format!(
        "Suspend_Delivery = false\nGenerate_Bounces = false\nIdle_Timeout = 1\n{more}\n\
         Domain \"example.net\" {{ Gateway = \"127.0.0.1:{port}\" }}"
    );
    node(LOGGERS, &more)
}

#[test]
fn logging_13c_replies_of_servers_stand_as_they_came() {
    let port = scripted(&[
        b"220 x\r\n",
        b"250 x\r\n",
        b"250 ok\r\n",
        b"550-5.1.1 \xfcber\x07\r\n550 5.1.1 no\r\n",
        b"250 ok\r\n",
    ]);
    let node = gateway(port, "");
    Client::connect(&node.smtp).unwrap().message("somebody@example.net", "x").unwrap();
    let expected = b"@127.0.0.1@550-5.1.1 \xfcber\\x07 550 5.1.1 no\n";
    for log in ["mainlog", "bouncelog"] {
        let read = || std::fs::read(path(&node, log)).unwrap_or_default();
        wait_until(PATIENCE, log, || read().windows(expected.len()).any(|part| part == expected));
    }
}

#[test]
fn a_failure_before_a_connection_is_ready_has_its_stage_and_its_server() {
    let node = gateway(scripted(&[b"554 no mail here\r\n"]), "MX_Failures_To_Delay = 1");
    Client::connect(&node.smtp).unwrap().message("somebody@example.net", "x").unwrap();
    let all = || lines(&node, "mainlog");
    wait_until(PATIENCE, "it is delayed", || all().iter().any(|line| line.contains("@T@")));
    let line = all().into_iter().find(|line| line.contains("@T@")).unwrap();
    let failed = fields(&line, 14);
    assert_eq!((failed[6], failed[9], failed[12]), ("0", "12", "127.0.0.1"), "{line}");
    assert!(failed[13].starts_with("421 4.4.0 [internal] no MXs"), "{line}");
}

#[test]
fn logging_14_5_a_console_over_tcp_has_a_peer_and_no_user() {
    let port = TcpListener::bind("127.0.2.1:0").unwrap().local_addr().unwrap().port();
    let node = node(
        LOGGERS,
        &format!("Control_Listener {{ Listen \"127.0.2.1:{port}\" {{ Always_Allow = true }} }}"),
    );
    let console = TcpStream::connect(("127.0.2.1", port)).unwrap();
    let from = console.local_addr().unwrap().to_string();
    let listener = format!("127.0.2.1:{port}");
    let all = || lines(&node, "acctlog");
    wait_until(PATIENCE, "it is in the acctlog", || all().iter().any(|line| line.contains(&listener)));
    let line = all().into_iter().find(|line| line.contains(&listener)).unwrap();
    assert_eq!(fields(&line, 6)[1..], ["N", &listener, &from, "", "1"]);
}

#[test]
fn logging_12_1_commands_of_a_logger() {
    let node = node(LOGGERS, "");
    assert_eq!(node.console("ec_logger:main help"), "reopen logs\n\tClose and reopen log files\n");
    assert_eq!(node.console("bounce_logger:bounces reopen logs"), "Logs reopened.\n");
    assert!(refused(&node, "ec_logger:other help").contains("No such module instance 'ec_logger:other'."));
    std::fs::rename(path(&node, "mainlog"), path(&node, "mainlog.1")).unwrap();
    std::fs::create_dir(path(&node, "mainlog")).unwrap();
    let refused = refused(&node, "reopen logs");
    assert!(
        refused.contains("/mainlog cannot be opened: ") && refused.contains("the file that was open goes on"),
        "{refused}"
    );
    Client::connect(&node.smtp).unwrap().message("somebody@example.net", "hello").unwrap();
    wait_lines(&node, "mainlog.1", 1);
}

#[test]
fn logging_a34_heartbeats() {
    let loggers = LOGGERS
        .replace("mainlog_mode", "heartbeat = 1 mainlog_mode")
        .replace("bouncelog\" }", "bouncelog\" heartbeat = 0 }");
    let node = node(&loggers, "");
    wait_until(PATIENCE, "hearts beat", || {
        lines(&node, "mainlog").len() >= 2 && lines(&node, "rejectlog").len() >= 2
    });
    let first = &lines(&node, "mainlog")[0];
    is_time(first.split('@').next().unwrap());
    assert!(first.ends_with("@@@@M1") && first.matches('@').count() == 4, "{first}");
    assert!(lines(&node, "rejectlog")[0].ends_with(": Marker 1"));
    assert!(lines(&node, "bouncelog").is_empty());
}

#[test]
fn a_full_disk_holds_up_no_mail_and_is_told() {
    let server = MailServer::start(|_| "250 2.1.5 ok");
    let loggers = "ec_logger \"main\" {\n  mainlog = \"/dev/full\" rejectlog = \"\" acctlog = \"\" paniclog = \"{dir}/paniclog\"\n}";
    let node = relay(&server, loggers);
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    wait_until(PATIENCE, "it is delivered all the same", || !server.all().is_empty());
    let received = server.all();
    assert_eq!(
        (received[0].sender.as_str(), &received[0].recipients[..]),
        ("sender@client.example", &["somebody@example.net".to_owned()][..])
    );
    assert!(received[0].text.ends_with("hello\r\n"), "{}", received[0].text);
    wait_until(PATIENCE, "both lines wait", || {
        node.console("show logs").contains("/dev/full: 0 written, 2 waiting, 0 lost (No space left on device")
    });
    wait_until(PATIENCE, "it is told", || {
        lines(&node, "paniclog").iter().any(|line| line.contains("log /dev/full cannot be written"))
    });
    assert!(
        node.console("paniclog")
            .contains("[critical] log /dev/full cannot be written: No space left on device")
    );
    // The end of the node does not wait for it.
    drop(client);
    node.console("shutdown");
    wait_until(PATIENCE, "it stops", || node.log().contains("log /dev/full: the last 2 lines are lost"));
}

#[test]
fn loggers_that_cannot_be_used_are_refused_and_those_before_stay() {
    let refused = |loggers: &str| {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let file = dir.path().join("postfleet.conf");
        let text = format!(
            "Spoolbase = \"{at}/spool\"\nPidfile = \"{at}/pid\"\nControl_Listener {{ Listen \"{at}/console\" {{}} }}\n\
             cluster {{ bus = \"solo\" nodename = \"solo\" nodeaddr = \"127.0.2.1\" }}\n\
             ECCluster_Listener {{ Listen \"127.0.2.1:4802\" {{ Enable = false }} }}\n{loggers}"
        );
        std::fs::write(&file, text).unwrap();
        let output = Command::new(PROGRAM).args(["node", "-c"]).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let only = |log: &str| {
        format!("ec_logger \"e\" {{ rejectlog = \"\" paniclog = \"\" acctlog = \"\" mainlog = \"{log}\" }}")
    };
    let (code, text) = refused(&only("cluster:///var/log/x.cluster=>master"));
    assert_eq!(code, Some(78), "{text}");
    let wanted = "CFG-6233 ec_logger \"e\": mainlog = \"cluster:///var/log/x.cluster…\": journals are not written in this \
                  version; name a file, for example \"/var/log/x.cluster.ec\", or \"\" for no log";
    assert!(text.contains(wanted), "{text}");
    let (code, text) = refused(&only("/nowhere/at/all"));
    assert!(
        code != Some(0)
            && text.contains("CFG-6234 ec_logger \"e\": mainlog: /nowhere/at/all cannot be opened: "),
        "{text}"
    );
    let (code, text) = refused("custom_logger \"c\" { mainlog = \"/tmp/c\" delivery_format = \"%us{7}\" }");
    assert!(
        code == Some(78)
            && text.contains("CFG-6235 custom_logger \"c\": delivery_format: %us: it takes 1 to 6 decimals"),
        "{text}"
    );
    let (code, text) =
        refused("custom_logger \"c\" { mainlog = \"/tmp/c\" delivery_format = \"x\" sanitize = \"all\" }");
    assert!(
        code == Some(78) && text.contains("CFG-6235 custom_logger \"c\": sanitize: 'all' is not one of "),
        "{text}"
    );
}

#[test]
fn a_reload_changes_loggers_or_leaves_them() {
    let node = node(LOGGERS, "");
    let send = || Client::connect(&node.smtp).unwrap().message("somebody@example.net", "hello").unwrap();
    send();
    wait_lines(&node, "mainlog", 1);
    let file = path(&node, "postfleet.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("/mainlog\"", "/no/folder\"")).unwrap();
    let refused = refused(&node, "config reload");
    assert!(
        refused.contains("CFG-6234 ec_logger \"main\": mainlog: ")
            && refused.contains("Reconfigure failed.\n"),
        "{refused}"
    );
    send();
    wait_lines(&node, "mainlog", 2);
    std::fs::write(
        &file,
        text.replace("/mainlog\"", "/another\"").replace("mainlog_mode", "record_format = json mainlog_mode"),
    )
    .unwrap();
    let reloaded = node.console("config reload");
    assert!(reloaded.ends_with("Reconfigure complete\n"), "{reloaded}");
    send();
    let all = wait_lines(&node, "another", 1);
    let object: serde_json::Value = serde_json::from_str(&all[0]).unwrap();
    assert_eq!((object["type"].as_str(), object["node"].as_str()), (Some("Reception"), Some("solo")));
    wait_lines(&node, "mainlog", 2);
    let shown = node.console("show logs");
    assert!(
        shown.contains("/another: 1 written, 0 waiting, 0 lost") && !shown.contains("/mainlog:"),
        "{shown}"
    );
}

#[test]
fn logging_17_2_every_record_as_json() {
    let server = MailServer::start(|recipient| match recipient.split('@').next().unwrap() {
        "gone" => "550 5.1.1 unknown",
        _ => "250 2.1.5 ok",
    });
    let loggers = LOGGERS
        .replace("mainlog_mode", "record_format = \"json\" mainlog_mode")
        .replace("bouncelog\" }", "bouncelog\" record_format = json }");
    let node = relay(&server, &loggers);
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    client.message("gone@example.net", "hello").unwrap();
    let read = |name: &str, count| -> Vec<serde_json::Value> {
        wait_lines(&node, name, count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let records = read("mainlog", 6);
    let of = |kind: &str| records.iter().filter(|record| record["type"] == kind).collect::<Vec<_>>();
    assert_eq!([of("Reception").len(), of("Delivery").len(), of("PermanentFailure").len()], [3, 2, 1]);
    let failure = of("PermanentFailure")[0];
    assert_eq!((failure["v"].as_u64(), failure["code"].as_u64()), (Some(1), Some(550)));
    assert_eq!(
        (failure["stage_name"].as_str(), failure["peer_ip"].as_str()),
        (Some("after RCPT TO"), Some("127.0.0.1"))
    );
    assert!(failure["elapsed"].is_number() && failure["ts"].as_str().unwrap().ends_with('Z'));
    // The bounce of the null sender has a sender that is empty, not none.
    assert_eq!(of("Reception")[2]["sender"].as_str(), Some(""));
    let bounce = &read("bouncelog", 1)[0];
    assert_eq!(
        (bounce["class_name"].as_str(), bounce["in_band"].as_bool()),
        (Some("Invalid Recipient"), Some(true))
    );
    // The name server came after the start: that was told as well.
    let panics = lines(&node, "paniclog");
    let mut panics = panics.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let start = panics.find(|panic| panic["subsystem"] == "START").unwrap();
    assert_eq!((start["type"].as_str(), start["level"].as_str()), (Some("Panic"), Some("NOTICE")));
    let account: serde_json::Value = serde_json::from_str(&lines(&node, "acctlog")[0]).unwrap();
    assert_eq!((account["type"].as_str(), account["result"].as_str()), (Some("AuthN"), Some("success")));
}

#[test]
fn logging_15_lines_of_ones_own() {
    let server = MailServer::start(|recipient| match recipient.split('@').next().unwrap() {
        "gone" => "550 5.1.1 <gone@example.net> unknown; really",
        _ => "250 2.1.5 ok",
    });
    let loggers = "custom_logger \"own\" {
      mainlog = \"{dir}/own\" sanitize = \"special_characters,tr/;/_/\"
      reception_format = \"%t@%i@%BI@%CI@R@%r@%R@%m@%M@%H@%B@%p@%g@%b\"
      delivery_format = \"%t@%i@%BI@%CI@D@%d@%B@%g@%b@%N@%T@%H\"
      permanent_failure_format = \"%b %B %c %m@%M %H %N %p %r@%R %s %T %U %n\"
      rejection_format = \"%p|%s|%S|%i|%BI|%n|%r@%R|%m@%M|%U|%h{Subject}|%mx\"
      rejection_logfile = \"{dir}/refused\" rejection_log_mode = 0600
    }
    ec_logger \"main\" { mainlog = \"{dir}/mainlog\" rejectlog = \"\" paniclog = \"\" acctlog = \"\" }";
    let node = relay(&server, loggers);
    let mut client = Client::connect(&node.smtp).unwrap();
    client.message("somebody@example.net", "hello").unwrap();
    let own = wait_lines(&node, "own", 2);
    let main = wait_lines(&node, "mainlog", 2);
    assert_eq!(own[0], main[0]);
    let (own_d, main_d) = (fields(&own[1], 12), fields(&main[1], 12));
    // Tries instead of retries, and two decimals.
    assert_eq!((&own_d[1..9], own_d[9], own_d[11]), (&main_d[1..9], "1", main_d[11]));
    is_decimal(own_d[10], 2);
    client.message("gone@example.net", "hello").unwrap();
    let own = wait_lines(&node, "own", 6);
    let failed = own.iter().find(|line| line.contains("Invalid Recipient")).unwrap();
    let (head, tail) = failed.split_once(" after RCPT TO ").unwrap();
    assert!(
        head.starts_with("default ")
            && head.ends_with(" Invalid Recipient sender@client.example 127.0.0.1 1 esmtp gone@example.net"),
        "{failed}"
    );
    assert!(tail.ends_with("  550 5.1.1 <gone@example.net> unknown_ really"), "{failed}");
    let log = node.log();
    assert!(
        log.contains("custom_logger \"own\": rejection_format: nothing stands for %mx; it is left out"),
        "{log}"
    );
}

#[test]
fn logging_a38_a_rejection_at_connect() {
    let loggers = "custom_logger \"own\" {
      mainlog = \"{dir}/own\"
      rejection_format = \"%t{%Y-%m-%d}|%H|%p|%s|%S|%i|%BI|%n|%r@%R|%m@%M|%U|%h{Subject}|%mx\"
    }
    Policy_Rule \"nobody\" { phase = \"connect\" key = \"%{client_addr}/32\" object = \"inbound_cidr\" limit = 0 action = \"554 connection refused by policy\" }";
    let node = node(loggers, "");
    let mut client = Client::raw(&node.smtp).unwrap();
    let greeting = client.reply().unwrap();
    assert!(greeting.starts_with("554"), "{greeting}");
    let all = wait_lines(&node, "own", 1);
    let (day, rest) = all[0].split_once('|').unwrap();
    assert_eq!(day.len(), 10);
    assert_eq!(
        rest,
        "127.0.0.1|unknown||22|00/00-00000-00000000|00/00-00000-00000000|connection refused by policy|@|@|||"
    );
}
