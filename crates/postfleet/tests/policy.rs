//! Rules and Sieve scripts decide in sessions of real nodes, on what the fleet shares. Policy document, sections 1, 3 and 6.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Client, Fleet, SingleNode, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Writes scripts and a stanza for all nodes of a fleet, and brings them into effect.
fn configure(fleet: &Fleet, scripts: &[(&str, &str)], stanza: &str, cluster: &str) {
    for (name, text) in scripts {
        std::fs::write(fleet.dir.path().join(name), text).unwrap();
    }
    let dir = fleet.dir.path().display().to_string();
    for (at, node) in fleet.nodes.iter().enumerate() {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let stanza = stanza.replace("{dir}", &dir);
        std::fs::write(&node.config, format!("{text}\n{stanza}\ncluster {{ {cluster} }}\n")).unwrap();
        let answer = fleet.console(at, "config reload");
        assert!(answer.ends_with("Reconfigure complete\n"), "{answer}");
    }
}

/// The first reply of a session that comes from this address.
fn greeting(address: &str, source: &str) -> (Client, String) {
    let mut client = Client::raw(address).unwrap();
    client.send(&format!("PROXY TCP4 {source} 192.0.2.1 40000 25\r\n")).unwrap();
    let reply = client.reply().unwrap();
    (client, reply)
}

#[test]
fn the_eleventh_connection_of_a_block_is_refused_wherever_it_comes() {
    let fleet = Fleet::start(3);
    let script = "($n) = audit_service \"inbound_cidr\" \"/24\";\n\
                  if ec_test :value \"gt\" :comparator \"i;ascii-numeric\" \"${n}\" \"10\" {\n\
                  ec_action 421 \"4.7.0 too many connections from your network\" \"limit:block\"; }\n";
    let stanza = "sieve \"sieve1\" { connect_phase1 = \"{dir}/connect.sieve\" }";
    configure(&fleet, &[("connect.sieve", script)], stanza, "");
    let mut open = Vec::new();
    for number in 0..10 {
        let node = number % 3;
        let (client, reply) = greeting(&fleet.nodes[node].smtp_proxy, &format!("203.0.113.{number}"));
        assert!(reply.starts_with("220"), "{reply}");
        open.push(client);
    }
    for node in 0..3 {
        wait_until(PATIENCE, "all count ten", || {
            let shown = fleet.console(node, "cluster shared show inbound_cidr");
            (0..10).all(|number| shown.contains(&format!("203.0.113.{number}")))
        });
        let (_, reply) = greeting(&fleet.nodes[node].smtp_proxy, "203.0.113.200");
        assert_eq!(reply, "421 4.7.0 too many connections from your network\r\n");
    }
    // Another block is not concerned, and room that was made is room for others.
    let (_other, reply) = greeting(&fleet.nodes[0].smtp_proxy, "198.51.100.1");
    assert!(reply.starts_with("220"), "{reply}");
    open.pop();
    wait_until(PATIENCE, "there is room again", || {
        greeting(&fleet.nodes[1].smtp_proxy, "203.0.113.201").1.starts_with("220")
    });
    let stats = fleet.console(0, "sieve:sieve1 stats");
    assert!(stats.contains("connect_phase1:limit:block (4xx) = "), "{stats}");
}

#[test]
fn a_shared_throttle_holds_sessions_and_a_replicated_cache_greylists() {
    let fleet = Fleet::start(2);
    let mail = "ec_shared_throttle_create \"bulk\" \"2/2\"; ec_shared_throttle_tarpit \"bulk\";\n";
    let rcpt = "$key = \"%{spfv1:i} %{mailfrom_domain} %{rcptto_localpart}\";\n\
                $seen = ec_cluster_cache_get \"grey\" \"${key}\";\n\
                if ec_test :is $seen \"\" { ec_cluster_cache_set \"grey\" \"${key}\" \"1\" \"2H\";\n\
                ec_action 451 \"4.7.1 come again\"; }\n";
    let stanza =
        "sieve \"s\" { mailfrom_phase1 = \"{dir}/mail.sieve\" rcptto_phase1 = \"{dir}/rcpt.sieve\" }";
    configure(
        &fleet,
        &[("mail.sieve", mail), ("rcpt.sieve", rcpt)],
        stanza,
        "Replicate \"grey\" { type = \"cache\" }",
    );
    let mut first = Client::connect(&fleet.nodes[0].smtp).unwrap();
    first.command("EHLO c.example").unwrap();
    let started = Instant::now();
    first.command("MAIL FROM:<a@c.example>").unwrap();
    let reply = first.command("RCPT TO:<b@demo.example>").unwrap();
    assert_eq!(reply, "451 4.7.1 come again\r\n");
    let mut second = Client::connect(&fleet.nodes[1].smtp).unwrap();
    second.command("EHLO c.example").unwrap();
    wait_until(PATIENCE, "the other node knows the triplet", || {
        second.command("MAIL FROM:<a@c.example>").unwrap();
        let known = second.command("RCPT TO:<b@demo.example>").unwrap().starts_with("250");
        second.command("RSET").unwrap();
        known
    });
    // Two a period: whoever is third waits for the first to be over.
    for _ in 0..3 {
        assert!(second.command("MAIL FROM:<a@c.example>").unwrap().starts_with("250"));
        second.command("RSET").unwrap();
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn policy_p19_p21_replies_and_contexts_of_a_session() {
    let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mail = file(
        "mail",
        "if ec_test :is \"%{mailfrom_domain}\" \"bad.example\" {\nec_action 550 text:\n5.7.1 first line\nsecond line\n.\n;\n}\n\
         $a = vctx_conn_get \"a\"; $b = vctx_mess_get \"b\";\n\
         if ec_test :is \"${a}${b}\" \"1\" { ec_action 250 \"seen before\"; }\n\
         vctx_conn_set \"a\" \"1\"; vctx_mess_set \"b\" \"2\";\n",
    );
    let data = file("data", "if header :contains \"Subject\" \"t\" { if size :over 100K { discard; } }");
    let global = format!(
        "Relay_Domains = ( \"demo.example\" )\nsieve \"s\" {{ mailfrom_phase1 = \"{mail}\" data_phase1 = \"{data}\" }}\n\
         Policy_Rule \"one\" {{ phase = \"ehlo\" key = \"%{{helo}}\" rate = \"1/3600\" action = \"450 4.7.1 once\" }}\n\
         Policy_Rule \"watch\" {{ key = \"%{{client_addr}}\" limit = 0 action = \"554 no\" shadow = true }}"
    );
    let node = SingleNode::start(&global, "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    assert!(client.command("EHLO c.example").unwrap().starts_with("250-"));
    assert_eq!(client.command("EHLO c.example").unwrap(), "450 4.7.1 once\r\n");
    let refused = client.command("MAIL FROM:<x@bad.example>").unwrap();
    assert_eq!(refused, "550-5.7.1 first line\r\n550 second line\r\n");
    assert!(client.message("b@demo.example", "small").unwrap().contains("accepted"));
    assert_eq!(client.command("MAIL FROM:<a@c.example>").unwrap(), "250 seen before\r\n");
    client.command("RSET").unwrap();
    let received =
        || node.console("summary").lines().find(|line| line.contains("Received")).map(str::to_owned);
    let before = received();
    assert!(client.message("b@demo.example", &"x\r\n".repeat(50_000)).unwrap().contains("accepted"));
    assert_eq!(received(), before, "a discarded message is no reception");
    let rules = node.console("policy_rule stats");
    assert_eq!(rules, "one (ehlo): 1 fired, 0 would have\nwatch (connect, shadow): 0 fired, 1 would have\n");
    // A script that does not compile keeps the old ones in force, and says where.
    std::fs::write(dir.path().join("mail"), "ec_acton 550 \"x\";\n").unwrap();
    let output = support::console(&node.control, "config reload");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("CFG-6182") && said.contains("mail:1: ") && said.contains("ec_action"), "{said}");
    let mut again = Client::connect(&node.smtp).unwrap();
    assert!(again.command("MAIL FROM:<x@bad.example>").unwrap().starts_with("550-"));
    let tested = node.console(&format!("sieve:s testfile mailfrom {data}"));
    assert_eq!(tested, "");
}

#[test]
fn policy_p23_copies_are_redirected_and_dropped_and_a_phase_is_checked() {
    let dir = tempfile::Builder::new().prefix("pf").tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let copies = file(
        "copies",
        "if envelope :is \"to\" \"move@demo.example\" { redirect \"moved@demo.example\"; }\n\
         if envelope :is \"to\" \"drop@demo.example\" { discard; }\n\
         if envelope :is \"to\" \"later@demo.example\" { ec_action 451 \"4.7.1 not now\"; }\n",
    );
    let asks = file(
        "asks",
        "if ec_test :is \"%{mailfrom_localpart}\" \"asks\" {\n\
         ($n) = ds_fetch \"db\" \"SELECT ? + 1\" [\"41\"]; ec_action 450 \"4.7.1 ${n}\"; }\n",
    );
    let global = format!(
        "Relay_Domains = ( \"demo.example\" )\nDatasource \"db\" {{ uri = ( \"sqlite::memory:\" ) }}\n\
         sieve \"sieve1\" {{ each_rcpt_phase1 = \"{copies}\" mailfrom_phase1 = \"{asks}\" }}"
    );
    let node = SingleNode::start(&global, "", "");
    let mut client = Client::connect(&node.smtp).unwrap();
    client.command("EHLO c.example").unwrap();
    assert_eq!(client.command("MAIL FROM:<asks@c.example>").unwrap(), "450 4.7.1 42\r\n");
    let mut send = |recipients: &[&str]| {
        client.command("MAIL FROM:<a@c.example>").unwrap();
        for recipient in recipients {
            let reply = client.command(&format!("RCPT TO:<{recipient}@demo.example>")).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
        }
        client.command("DATA").unwrap();
        client.send("Subject: x\r\n\r\nhello\r\n.\r\n").unwrap();
        client.reply().unwrap()
    };
    assert!(send(&["stay", "move", "drop"]).starts_with("250 "));
    // One copy that is refused for now refuses the message, so that the client comes again with all of it.
    assert_eq!(send(&["stay", "later"]), "451 4.7.1 not now\r\n");
    assert!(node.console("mailq").contains("demo.example       2       0"));
    let stored = support::stored(&node.dir.path().join("spool/msg"));
    assert!(stored.contains("stay@demo.example") && stored.contains("moved@demo.example"), "{stored}");
    assert!(!stored.contains("drop@demo.example") && !stored.contains("move@demo.example"), "{stored}");

    let cache = file("cache", "$x = ec_cluster_cache_get \"c\" \"k\";\n");
    let output = support::console(&node.control, &format!("sieve:sieve1 testfile set_binding {cache}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains(&format!("{cache}:1: 'ec_cluster_cache_get' is not permitted in set_binding")),
        "{said}"
    );
}
