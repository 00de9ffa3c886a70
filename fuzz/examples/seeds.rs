//! Writes `fuzz/seeds/`: a few small valid inputs for each target, so that fuzzing starts behind the first checks.
//!
//! `cargo +nightly run --manifest-path fuzz/Cargo.toml --example seeds`, after a format has changed.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use postfleet_bus::carrier::{RawId, RawReason};
use postfleet_bus::envelope::{Admitted, Body, Header, Heartbeat, Hello, Install, Load, Round};
use postfleet_bus::event::{BusEvent, Destination, GroupCause, LeaveReason, Member, MemberInfo};
use postfleet_bus_local::frame::{Attach, FromHub, Gone, Resume, ToHub};
use postfleet_bus_local::log::{Body as Logged, Change, Entry};
use postfleet_bus_local::member::{Mark, MemberId};
use postfleet_console::client;
use postfleet_replica::{
    FetchEnd, KIND_ANSWER, KIND_ASK, KIND_BATCH, KIND_CHUNK, KIND_MARKER, ObjectKind, ObjectSpec, Outbound,
    Replica, ReplicaOptions, Served, Transfer,
};
use postfleet_spool::{Envelope, MessageFile, MessageId, Notify, RecipientCopy, Traits};
use postfleet_throttle::{
    Configuration, Path as Keys, Present, SharedThrottles, SlotOptions, Slots, ThrottleOptions,
};
use postfleet_types::{Epoch, GroupName, Monotonic, NodeType, PrivateName, ViewId, WallTime};

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), bytes).expect("the seed can be written");
}

fn main() {
    configuration();
    smtp();
    smtp_client();
    console();
    bus();
    local();
    replication();
    spool();
    throttle();
    sieve();
    lua();
}

fn configuration() {
    let whole = "# a node\nHostname = \"relay1.example\"\nSpoolbase = /var/spool/x\nRelay_Hosts = ( \"127.0.0.0/8\" '::1' )\n\
                 ESMTP_Listener {\n  Listener_Sessions = 20\n  Listen \"127.0.1.1:2525\" { Proxy_Protocol = true }\n\
                 \x20 Peer \"192.0.2.0/24\" { Idle_Time = 10 }\n}\nControl_Listener { Listen \"/tmp/x/control\" { } }\n\
                 cluster {\n  bus = \"local\"\n  Replicate \"inbound_cidr\" { type = inbound_cidr max_delay = 0.5 }\n}\n";
    save("configuration", "node", whole.as_bytes());
    save(
        "configuration",
        "include",
        b"include \"d/*.conf\"\nreadonly_include 'again.conf'\nOpen_Relay = yes\n",
    );
    save("configuration", "regex", b"domain /^(a|b)\\.example$/ { Max_Retries = 5 }\nDomain \"x\" { }\n");
    for (name, text) in [
        ("cluster", &include_str!("../../crates/postfleet-config/tests/samples/cluster_2x.conf")[..]),
        ("modules", include_str!("../../crates/postfleet-config/tests/samples/modules_2x.conf")),
        ("node", include_str!("../../crates/postfleet-config/tests/samples/node_4x.conf")),
        ("bus", "# Subcluster: a => B\nSpread_Segment 192.0.2.255:4803 {\n  B 192.0.2.1\n}\n"),
        ("sections", "replicate [ type = cache replication_name = x ]\nx [ uri = \"null:\" ]\n"),
    ] {
        save("migration", name, text.as_bytes());
    }
    save("configuration", "damaged", b"ESMTP_Listener {\n Listen \":25\" {\n Idle_Time = -1x \"\n");
}

fn smtp_client() {
    // Four bytes choose settings, messages, cuts (2: a line at a time) and how the connection ends.
    let client = |name: &str, choices: [u8; 4], text: &str| {
        save("smtp_client", name, &[&choices, text.as_bytes()].concat());
    };
    let replies = "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n";
    client("stepwise", [0x80, 8, 2, 0], &format!("220 mx\r\n250 mx\r\n{replies}221 bye\r\n"));
    client(
        "pipelined",
        [0x80, 16, 2, 9],
        &format!(
            "220 mx\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n550 5.1.1 no\r\n452 4.5.3 no\r\n354 go\r\n{replies}"
        ),
    );
    client(
        "chunks",
        [0xc0, 8, 0x42, 0],
        "220 mx\r\n250-mx\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 taken\r\n421 bye\r\n",
    );
    client("helo", [0x80, 9, 3, 1], "220-a\n220 b\n502 what\n250 mx\n421 bye\n");
    client(
        "tls",
        [0x82, 0x88, 2, 0],
        &format!("220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250 mx\r\n{replies}"),
    );
}

fn smtp() {
    // Five bytes choose the settings of the session.
    let session = |name: &str, choices: [u8; 5], text: &str| {
        save("smtp_session", name, &[&choices, text.as_bytes()].concat());
    };
    let mail = "MAIL FROM:<a@b.example> SIZE=99 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\n";
    let content = "From: a\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\r\nx\r\n..\r\n.\r\n";
    session("data", [3, 0, 0, 1, 1], &format!("EHLO c\r\n{mail}DATA\r\n{content}QUIT\r\n"));
    session(
        "pipelined",
        [3, 0, 0, 0, 7],
        &format!("EHLO c\r\n{mail}RSET\r\n{mail}DATA\r\n{content}{mail}DATA\r\n{content}"),
    );
    session(
        "bdat",
        [0x30, 0, 32, 0, 2],
        &format!("EHLO c\r\n{mail}BDAT 7\r\nA: b\r\n\r\nBDAT 5 LAST\r\nbodyxNOOP\r\n"),
    );
    session("tls", [15, 0, 0, 0, 3], "EHLO c\r\nSTARTTLS\r\nEHLO c\r\nNOOP\r\n");
    session(
        "lone",
        [0, 0, 32, 0, 4],
        &format!("HELO c\r\n{mail}DATA\r\nA: b\r\n\r\nx\n.\nMAIL FROM:<x@y>\r\n.\r\n"),
    );
    session(
        "errors",
        [0, 0, 0, 0, 5],
        "FOO\r\nRCPT TO:<a@b>\r\nDATA now\r\nVRFY x\r\nHELP\r\nMAIL FROM:a\r\nEXPN\r\n",
    );

    save("log_format", "delivery", b"%t@%i@D@%d %T{3} %us{4}\n\n550 5.1.1 no");
    save("log_format", "zone", b"%t{%Y-%m-%d %z} 100% %% %n\nspecial_characters,tr/;a-c/_/\na;b\r\nc");
    save("proxy_header", "v1_tcp4", b"PROXY TCP4 192.0.2.5 127.0.0.1 47780 25\r\nEHLO c\r\n");
    save("proxy_header", "v1_tcp6", b"PROXY TCP6 2001:db8::5 ::1 47780 25\r\n");
    save("proxy_header", "v1_unknown", b"PROXY UNKNOWN anything\r\n");
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let four = [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 5, 127, 0, 0, 1, 0xba, 0xa4, 0, 25]].concat();
    save("proxy_header", "v2_tcp4", &four);
    let six = [&signature[..], &[0x21, 0x21, 0, 39], &[0x20; 36], &[3, 0, 0]].concat();
    save("proxy_header", "v2_tcp6_tlv", &six);
    save("proxy_header", "v2_local", &[&signature[..], &[0x20, 0, 0, 0]].concat());
}

fn console() {
    for (name, line) in [
        ("help", "help"),
        ("show", "cluster shared show inbound_cidr from relay1"),
        ("range", "json cluster shared show inbound_cidr 24 32"),
        ("membership", "xml cluster membership -v"),
        ("quoted", "config eval \"a b\" 'c\\'"),
        ("unknown", "cluster shared shwo x"),
    ] {
        save("console_line", name, line.as_bytes());
    }
    let framed = [
        &client::run(1, "summary")[..],
        &client::complete(2, "cluster sh"),
        &client::cancel(2),
        client::NOOP,
        client::BYE,
    ];
    save("console_protocol", "framed", &framed.concat());
    save("console_protocol", "plain", b"cluster membership\r\nmailq\nxml count\nquit\n");
    save(
        "console_protocol",
        "server",
        b"POSTFLEET-CONTROL 1 node relay1 0.1.0 AUTH=none\nOUT 1 5\nhelloEND 1 0\n",
    );
    save("console_protocol", "long", b"RUN 1 99999999\nx");
}

fn name(member: u8) -> PrivateName {
    PrivateName::shared(&format!("relay{member}").parse().expect("a node name"), 1)
}

fn info(member: u8) -> MemberInfo {
    MemberInfo {
        private_name: name(member),
        node_name: format!("relay{member}").parse().expect("a node name"),
        subcluster: "default".parse().expect("a subcluster"),
        node_type: NodeType::Node,
        version: "0.1.0 r(0)".to_string(),
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, member)), 4802),
        protocol: (1, 1),
        options_digest: 7,
        heartbeats_per_second: 1,
        heartbeat_miss_limit: 10,
        boot_id: 9,
    }
}

fn group() -> GroupName {
    "fleet".parse().expect("a group name")
}

fn bus() {
    let raw = RawId { major: 12, minor: 1 };
    let bodies = [
        (
            "hello",
            Body::Hello(Hello {
                nonce: 1,
                counter: 2,
                age: 1,
                delivered: 5,
                info: info(1),
                groups: vec![group()],
            }),
        ),
        (
            "install",
            Body::Install(Install {
                nonce: 1,
                counter: 3,
                protocol: 1,
                admitted: vec![Admitted { raw, epoch: Epoch(4), age: 1 }],
                others: vec![(RawId { major: 13, minor: 1 }, LeaveReason::Refused)],
            }),
        ),
        ("join", Body::Join(group())),
        ("leave", Body::Leave(group())),
        ("data", Body::Data(Bytes::from_static(b"payload"))),
        ("bye", Body::Bye),
        (
            "heartbeat",
            Body::Heartbeat(Heartbeat {
                number: 1,
                view: 3,
                load: Load { queue: 1, connections: 2 },
                wall: WallTime::from_unix_seconds(1_900_000_000),
                options_digest: Some(7),
            }),
        ),
        ("round", Body::Round(Round { nonce: 1, excluded: vec![Epoch(8)], decides: true })),
    ];
    for (seed, body) in bodies {
        let mut header = Header::new(&body, Epoch(4), 6, ViewId { counter: 3, tag: 1 });
        header.to = match &body {
            Body::Data(_) => vec![Destination::Group(group()), Destination::Member(name(2))],
            Body::Join(_) | Body::Leave(_) => vec![Destination::Group(group())],
            _ => Vec::new(),
        };
        save("bus_envelope", seed, &header.encode(&body));
    }
}

fn local() {
    let id = |minor| MemberId { raw: RawId { major: 12, minor }, started: 5 };
    let mark = |seq| Mark { generation: 2, seq };
    let change =
        Change { members: vec![id(1), id(2)], left: vec![(id(3), RawReason::Left)], joined: vec![id(2)] };
    let entries = vec![
        Entry { mark: mark(1), body: Logged::Change(change) },
        Entry {
            mark: mark(2),
            body: Logged::Message { from: id(1).raw, no: 1, bytes: Bytes::from_static(b"message") },
        },
    ];
    let resume = Resume { last: mark(2), held_from: 1, own_no: 1, members: vec![id(1), id(2)] };
    let attach = Attach { version: 1, bus_name: "fleet".to_string(), id: id(1), resume: Some(resume) };
    let mut out = Vec::new();
    for frame in [
        ToHub::Attach(attach),
        ToHub::Submit { no: 1, bytes: Bytes::from_static(b"message") },
        ToHub::Ack { seq: 2 },
        ToHub::Hold { entries: entries.clone() },
        ToHub::Detach,
    ] {
        frame.encode(&mut out);
    }
    save("local_frames", "to_hub", &out);
    out.clear();
    let mut frames: Vec<FromHub> =
        entries.into_iter().map(|entry| FromHub::Entry { stable: 1, entry }).collect();
    frames.push(FromHub::Own { stable: 1, mark: mark(3), no: 2 });
    frames.push(FromHub::Fetch { from: 1, to: 3 });
    frames.push(FromHub::Tick { generation: 2, stable: 3 });
    frames.push(FromHub::Gone(Gone::Expelled));
    for frame in frames {
        frame.encode(&mut out);
    }
    save("local_frames", "from_hub", &out);
}

/// The second of two members counts, sends, and answers the first, who joined later: all of its messages.
fn replication() {
    for fetched in [false, true] {
        replication_session(fetched);
    }
}

/// What a member hears from another that it joins. `fetched`: the long columns come point to point.
fn replication_session(fetched: bool) {
    let member =
        |index| Member { info: info(index), epoch: Epoch(index.into()), age: 1, groups: vec![group()] };
    let view = |counter, present: &[u8]| {
        let names: Vec<PrivateName> = present.iter().map(|&index| name(index)).collect();
        let stayed = names.iter().filter(|other| counter > 1 && **other == name(2)).cloned().collect();
        [
            BusEvent::View {
                id: ViewId { counter, tag: 1 },
                members: present.iter().map(|&index| member(index)).collect(),
                joined: names.clone(),
                left: Vec::new(),
                transitional: stayed,
            },
            BusEvent::GroupView { group: group(), members: names, cause: GroupCause::View },
        ]
    };
    let kinds = [
        ObjectKind::InboundCidr,
        ObjectKind::OutboundCidr,
        ObjectKind::OutboundDomains,
        ObjectKind::OutboundBindingDomains,
    ];
    // Small parts, so that there are chunks.
    let replica = |index: u8| {
        let node = format!("relay{index}").parse().expect("a node name");
        let options = ReplicaOptions {
            min_delay: None,
            inline_bytes_max: 64,
            chunk_bytes_max: 64,
            ..ReplicaOptions::new(name(index), node, group())
        };
        Replica::new(
            options,
            kinds.iter().map(|&kind| ObjectSpec { snapshot: true, ..ObjectSpec::of(kind) }).collect(),
        )
    };
    let (mut first, mut second) = (replica(1), replica(2));
    let mut now = Monotonic::ZERO;
    for event in view(1, &[2]) {
        second.handle(now, &event);
    }
    let count = |second: &mut Replica, now, from: u8, to: u8| {
        for host in from..to {
            let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
            let _open = second.inbound_opened(now, address);
            let outbound = Outbound {
                binding: "b1",
                group: None,
                domain: "d.example",
                host: Some("mx.d.example"),
                address,
            };
            let _open = second.outbound_opened(now, &outbound);
        }
    };
    count(&mut second, now, 0, 40);
    for event in view(2, &[2, 1]) {
        first.handle(now, &event);
        second.handle(now, &event);
    }
    let steps = [KIND_BATCH, KIND_MARKER, KIND_CHUNK, KIND_ASK, KIND_ANSWER];
    let mut script: Vec<u8> = Vec::new();
    let mut waiting = Vec::new();
    for turn in 0..60_u8 {
        if turn % 20 == 0 {
            count(&mut second, now, turn, turn + 1);
        }
        now = now + Duration::from_millis(100);
        for sender in [2, 1] {
            let from = if sender == 1 { &mut first } else { &mut second };
            from.handle_timeout(now);
            while let Some(sent) = from.poll_send(now) {
                let event = BusEvent::Message {
                    from: name(sender),
                    to: sent.to.clone(),
                    kind: sent.kind,
                    payload: sent.payload.clone(),
                    view: ViewId { counter: 2, tag: 1 },
                    own: None,
                };
                let step = steps.iter().position(|&kind| kind == sent.kind).expect("a known kind");
                save("replication_message", &format!("kind_{step}"), &sent.payload);
                if sender == 2 {
                    script.push(step as u8);
                    script.extend_from_slice(&(sent.payload.len() as u16).to_be_bytes());
                    script.extend_from_slice(&sent.payload);
                }
                waiting.push(event);
            }
        }
        while let Some(transfer) = first.poll_transfer(now) {
            let Transfer::Open { fetch, request, .. } = transfer else { continue };
            if !fetched {
                first.fetch_ended(now, fetch, FetchEnd::Unreachable("closed".into()));
                continue;
            }
            save("replication_message", "request", &request[4..]);
            let Ok(mut serving) = second.serve(now, &request[4..]) else { continue };
            while let Served::Frame(frame) = serving.poll(now) {
                let content = frame.slice(4..);
                save("replication_message", &format!("frame_{}", content[0]), &content);
                script.push(14);
                script.extend_from_slice(&(content.len() as u16).to_be_bytes());
                script.extend_from_slice(&content);
                first.fetched(now, fetch, &content);
            }
        }
        for event in waiting.drain(..) {
            first.handle(now, &event);
            second.handle(now, &event);
        }
    }
    if fetched {
        save("replication_message", "fetch", &script);
        return;
    }
    save("replication_message", "session", &script);
    let other = [&[10, 0, 0, 11, 7, 208, 12, 0, 0, 13, 0, 0, 12, 0, 0][..], &script[..script.len().min(600)]]
        .concat();
    save("replication_message", "leave_and_return", &other);
}

fn spool() {
    let copy = |counter: u16| RecipientCopy {
        id: MessageId::from_parts(1_254_219_116, 2001, counter),
        recipient: format!("r{counter}@d.example"),
        domain: "d.example".to_string(),
        orcpt: (counter == 1).then(|| "rfc822;x@d.example".to_string()),
        notify: (counter == 1).then_some(Notify { success: true, failure: true, delay: false }),
        binding: "default".into(),
        binding_group: if counter == 1 { "g" } else { "default" }.into(),
    };
    let mut envelope = Envelope {
        batch: MessageId::from_parts(1_254_219_116, 2001, 0),
        created: WallTime::from_unix_seconds(1_254_219_116),
        sender: "a@b.example".to_string(),
        copies: vec![copy(0), copy(1)],
        body: postfleet_spool::Body::EightBitMime,
        smtputf8: true,
        ret: Some(postfleet_spool::Ret::Full),
        envid: Some("e".to_string()),
        client: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25)),
        helo: "c".to_string(),
        protocol: "ESMTP".to_string(),
        connection: None,
        context: vec![("k".to_string(), "v".to_string())],
    };
    let content = "A: b\r\n\r\n\u{e9}\r\n".as_bytes();
    let traits = Traits { eight_bit: true };
    let file = MessageFile { envelope: envelope.clone(), content, traits };
    save("spool_file", "full", &file.encode().expect("a small envelope"));
    envelope.copies.truncate(1);
    let file = MessageFile { envelope, content: b"", traits: Traits::default() };
    save("spool_file", "empty", &file.encode().expect("a small envelope"));
    save("spool_file", "name", b"00-00-02001-C6DD1CA4");
}

/// What a member of a fleet of two says, as the other's steps.
fn throttle() {
    let now = Monotonic::from_millis(1_000_000);
    let names = ["b", "a"].map(|node| PrivateName::shared(&node.parse().expect("a node name"), 1));
    let present = names.each_ref().map(|name| Present { name, relay: true });
    let next = Configuration { id: 1, members: &present, departed: &[], joined: &names[1..] };
    let step = |step: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).expect("a short message").to_be_bytes();
        [&[step][..], &length, payload].concat()
    };

    let mut table = SharedThrottles::new(&names[0], ThrottleOptions::default());
    let id = table.configure(now, "domain:example.com", "30/60".parse().expect("a rate")).expect("a name");
    table.request(now, &[id], 50).expect("a path");
    let rows: Vec<Vec<u8>> = std::iter::from_fn(|| table.drain_outbox(now, 4096)).collect();
    assert!(rows.is_empty(), "alone it says nothing");
    table.reconfigure(now, &next);
    let mut steps: Vec<u8> =
        std::iter::from_fn(|| table.drain_outbox(now, 4096)).flat_map(|row| step(3, &row)).collect();
    steps.extend(step(7, &[]));
    steps.extend(step(4, &[0; 2000]));
    save("throttle_message", "table", &steps);

    let mut slots = Slots::new(&names[0], SlotOptions::default());
    let path = Keys::new([("domain:a", 3), ("global", 5)]).expect("a path");
    slots.want(now, &path, 4);
    while slots.open(now, &path) {}
    slots.reconfigure(now, &next);
    let mut steps: Vec<u8> =
        std::iter::from_fn(|| slots.drain_outbox(now, 4096)).flat_map(|row| step(3, &row)).collect();
    steps.extend(step(8, &[0; 3]));
    steps.extend(step(9, &[]));
    save("throttle_message", "slots", &steps);
}

fn sieve() {
    for (number, sample) in postfleet_sieve::fuzz::SAMPLES.iter().enumerate() {
        // The phase with most functions: the message is there, the session too.
        save("sieve_script", &format!("sample{number}"), &[&[5], sample.as_bytes()].concat());
    }
}

fn lua() {
    for (number, sample) in postfleet_lua::fuzz::SAMPLES.iter().enumerate() {
        save("lua_script", &format!("sample{number}"), sample.as_bytes());
    }
}
