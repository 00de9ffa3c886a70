//! Answers as text, JSON and XML. Layouts marked exact in the manual are contracts: scripts read them.

use alloc::string::{String, ToString};

use postfleet_types::{NodeType, WallTime};

use crate::answer::{
    Answer, ClusterInfo, CountReply, CountResult, Mailq, Member, MembershipList, SharedList, SharedObject,
    SharedRows, SharedShow, SharedView, Summary, Sysinfo,
};
use crate::command::{CountKind, Request};
use crate::failure::{Code, Failure, Status};
use crate::limits;
use crate::machine::{Fields, Form, json_record, put, xml_element};
use crate::profile::Profile;

/// A command's end, ready for the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Status of the command.
    pub status: Status,
    /// Error code when it did not succeed.
    pub code: Option<Code>,
    /// What it printed. Empty or ends in a newline. After a failure: the text of the failure.
    pub output: String,
}

/// Prints an answer in the form that the request asks for. `now` goes into the envelope of the machine forms.
#[must_use]
pub fn render(
    profile: &Profile,
    request: &Request,
    now: WallTime,
    result: Result<&Answer, &Failure>,
) -> Rendered {
    let mut output = String::new();
    match request.form {
        Form::Text => match result {
            Ok(answer) => text(&mut output, profile, answer),
            Err(failure) => put(&mut output, format_args!("{failure}\n")),
        },
        Form::Json => {
            json_record(&mut output, |fields| {
                envelope(fields, profile, request, now, result.is_ok());
                match result {
                    Ok(answer) => fields.record("data", "", |fields| describe(fields, profile, answer)),
                    Err(failure) => fields.record("error", "", |fields| describe_failure(fields, failure)),
                }
            });
            output.push('\n');
        }
        Form::Xml => {
            xml_element(&mut output, "Response", |fields| {
                envelope(fields, profile, request, now, result.is_ok());
                match result {
                    Ok(answer) => {
                        fields.record("", element(answer), |fields| describe(fields, profile, answer));
                    }
                    Err(failure) => fields.record("", "Error", |fields| describe_failure(fields, failure)),
                }
            });
            output.push('\n');
        }
    }
    match result {
        Ok(_) => Rendered { status: Status::Ok, code: None, output },
        Err(failure) => Rendered { status: failure.status, code: Some(failure.code), output },
    }
}

fn envelope(fields: &mut Fields<'_>, profile: &Profile, request: &Request, now: WallTime, ok: bool) {
    fields.text("command", &request.text);
    fields.text("node", &profile.node);
    fields.shown("time", now.civil().rfc3339());
    fields.truth("ok", ok);
}

fn describe_failure(fields: &mut Fields<'_>, failure: &Failure) {
    fields.text("code", failure.code.word());
    fields.text("message", failure.machine_message.as_ref().unwrap_or(&failure.message));
}

const fn element(answer: &Answer) -> &'static str {
    match answer {
        Answer::Lines(_) => "Output",
        Answer::Config(answer) => crate::config::element(answer),
        Answer::ClusterInfo(_) => "ClusterInfo",
        Answer::Membership(_) => "Membership",
        Answer::NodeName(_) => "NodeName",
        Answer::NodeAddress(_) => "NodeAddr",
        Answer::SharedList(_) => "SharedObjects",
        Answer::SharedShow(_) => "SharedObject",
        Answer::SharedWhy(_) => "Why",
        Answer::Throttle(_) => "Throttle",
        Answer::Slot(_) => "Slots",
        Answer::AuditIp(_) => "Audit",
        Answer::Count(_) => "Count",
        Answer::CachePair(_) => "Pair",
        Answer::Rows(_) => "Answer",
        Answer::DatasourceStatistics(_) => "Datasources",
        Answer::Summary(_) => "Summary",
        Answer::Mailq(_) => "Queues",
        Answer::Pid(_) => "Pid",
        Answer::Version => "Version",
        Answer::Sysinfo(_) => "Sysinfo",
    }
}

fn describe(fields: &mut Fields<'_>, profile: &Profile, answer: &Answer) {
    match answer {
        Answer::Lines(lines) => fields.lines("lines", lines.iter().map(String::as_str)),
        Answer::Config(answer) => crate::config::describe(fields, answer),
        Answer::ClusterInfo(info) => describe_info(fields, info),
        Answer::Membership(list) => describe_membership(fields, list),
        Answer::NodeName(name) => fields.text("name", name),
        Answer::NodeAddress(address) => {
            fields.shown("address", address.ip());
            fields.whole("port", address.port());
        }
        Answer::SharedList(list) => {
            fields.records("objects", "Object", &list.objects, |o, f| describe_object(o, f))
        }
        Answer::SharedShow(show) => describe_show(fields, show),
        Answer::SharedWhy(why) => limits::describe_why(fields, why),
        Answer::Throttle(reply) => limits::describe_throttle(fields, reply),
        Answer::Slot(reply) => limits::describe_slot(fields, reply),
        Answer::AuditIp(audit) => crate::audit::describe_ip(fields, audit),
        Answer::Count(count) => describe_count(fields, count),
        Answer::CachePair(pair) => pair.describe(fields),
        Answer::Rows(rows) => rows.describe(fields),
        Answer::DatasourceStatistics(statistics) => statistics.describe(fields),
        Answer::Summary(summary) => describe_summary(fields, summary),
        Answer::Mailq(mailq) => describe_mailq(fields, mailq),
        Answer::Pid(pid) => fields.whole("pid", *pid),
        Answer::Version => {
            fields.text("product", &profile.program());
            fields.text("version", &profile.version);
        }
        Answer::Sysinfo(system) => describe_sysinfo(fields, profile, system),
    }
}

fn describe_info(fields: &mut Fields<'_>, info: &ClusterInfo) {
    fields.text("daemon", &info.daemon);
    fields.truth("connected", info.membership.is_some());
    fields.maybe_text("membership_name", info.membership.as_deref());
    fields.maybe_text("replication_name", info.replication.as_deref());
    fields.text("control_group", &info.control_group);
    fields.text("cluster_group", &info.cluster_group);
    fields.maybe_text("leader", info.leader.as_deref());
    fields.maybe_text("logger_group", info.logger_group.as_deref());
}

fn describe_membership(fields: &mut Fields<'_>, list: &MembershipList) {
    fields.records("members", "Member", &list.members, |member, fields| {
        let node = member.kind == NodeType::Node;
        fields.text("private_name", &member.private_name);
        fields.maybe_text("node_name", node.then_some(&member.node_name));
        fields.maybe_text("subcluster", node.then_some(&member.subcluster));
        fields.text(
            "type",
            match member.kind {
                NodeType::Node => "node",
                NodeType::Manager => "manager",
                NodeType::Other => "other",
            },
        );
        fields.text("version", &member.version);
        let address = member.address.filter(|_| node);
        fields.maybe_text("address", address.map(|a| a.ip().to_string()).as_deref());
        fields.maybe_whole("port", address.map(|a| a.port()));
        fields.names("groups", "Group", member.groups.iter().map(String::as_str));
        fields.maybe_whole("clock_offset_ms", member.clock_offset_ms);
        match member.heartbeat_age_ms {
            Some(age) => fields.real("heartbeat_age", seconds(age)),
            None => fields.maybe_text("heartbeat_age", None),
        }
        fields.whole("admitted", member.admitted);
    });
    fields.record("view", "View", |fields| {
        fields.text("id", &list.view);
        fields.whole("size", size(list.members.len()));
        match list.detection_ms {
            Some(time) => fields.real("detection_time", seconds(time)),
            None => fields.maybe_text("detection_time", None),
        }
    });
}

fn describe_object(object: &SharedObject, fields: &mut Fields<'_>) {
    fields.text("name", &object.name);
    fields.text("kind", object.kind.words());
    fields.truth("lazy", true);
    fields.truth("snapshots", object.snapshots);
    fields.maybe_text("type", object.type_name.as_deref());
    fields.maybe_text("class", object.class.as_deref());
    fields.names("parameters", "Parameter", object.parameters.iter().map(String::as_str));
}

fn describe_show(fields: &mut Fields<'_>, show: &SharedShow) {
    fields.text("object", &show.object);
    fields.text("kind", show.kind.words());
    fields.truth("lazy", true);
    fields.truth("snapshots", show.snapped);
    fields.text("view", view_word(&show.view));
    let node = match &show.view {
        SharedView::Global => None,
        SharedView::Node { node, .. } => Some(node.as_str()),
    };
    fields.maybe_text("node", node);
    fields.truth("complete", show.missing.is_empty());
    fields.names("missing", "Missing", show.missing.iter().map(String::as_str));
    match &show.rows {
        SharedRows::Cidr(rows) => fields.records("rows", "Row", shown(rows), |(prefix, count), fields| {
            fields.shown("cidr", prefix);
            fields.whole("count", *count);
        }),
        SharedRows::Cache(rows) => fields.records("rows", "Row", rows, |(key, left), fields| {
            fields.text("key", key);
            fields.maybe_whole("left", *left);
        }),
        SharedRows::Gauge(rows) => fields.records("rows", "Row", shown(rows), |(key, count), fields| {
            fields.text("key", key);
            fields.whole("count", *count);
        }),
        SharedRows::Throttles(rows) => fields.records("rows", "Row", rows, |(name, used, rate), fields| {
            let (limit, window) = rate.split_once('/').unwrap_or((rate, ""));
            fields.text("key", name);
            fields.whole("used", *used);
            fields.maybe_whole("limit", limit.parse::<u64>().ok());
            fields.maybe_whole("window", window.parse::<u64>().ok());
        }),
        SharedRows::Slots(rows) => fields.records("rows", "Row", rows, |(key, owned, limit), fields| {
            fields.text("key", key);
            fields.whole("used", *owned);
            fields.whole("limit", *limit);
        }),
    }
}

fn describe_count(fields: &mut Fields<'_>, count: &CountReply) {
    fields.shown("type", &count.kind);
    let (sessions, rows) = match &count.result {
        CountResult::Sessions(sessions) => (Some(*sessions), [].as_slice()),
        CountResult::Rows { rows, .. } => (None, rows.as_slice()),
    };
    fields.maybe_whole("sessions", sessions);
    fields.records("rows", "Row", shown(rows), |(prefix, count), fields| {
        fields.shown("cidr", prefix);
        fields.whole("count", *count);
    });
}

fn describe_summary(fields: &mut Fields<'_>, summary: &Summary) {
    fields.whole("outbound_concurrency", summary.outbound_concurrency);
    fields.whole("inbound_concurrency", summary.inbound_concurrency);
    fields.whole("active_domains", summary.active_domains);
    fields.whole("active_queue_size", summary.active_queue_size);
    fields.whole("delayed_queue_size", summary.delayed_queue_size);
    fields.whole("destaged_queue_size", 0_u8);
    fields.whole("total_queue_size", total(summary));
    fields.whole("dns_a_queries", summary.dns_a_queries);
    fields.whole("dns_mx_queries", summary.dns_mx_queries);
    fields.whole("pending_dns_queries", summary.pending_dns_queries);
    fields.real("query_rate", summary.query_rate);
    fields.whole("successfully_delivered_messages", summary.successfully_delivered_messages);
    fields.whole("failed_messages", summary.failed_messages);
    fields.whole("rejected_messages", summary.rejected_messages);
    fields.whole("received_messages", summary.received_messages);
    fields.real("delivery_rate", summary.delivery_rate);
    fields.real("reception_rate", summary.reception_rate);
    fields.whole("since_reset", summary.since_reset);
    fields.whole("uptime", summary.uptime);
}

fn describe_mailq(fields: &mut Fields<'_>, mailq: &Mailq) {
    fields.records("queues", "Queue", &mailq.queues, |queue, fields| {
        fields.text("group", &queue.group);
        fields.text("binding", &queue.binding);
        fields.text("domain", &queue.domain);
        fields.whole("active", queue.active);
        fields.whole("delayed", queue.delayed);
    });
    fields.truth("truncated", mailq.truncated);
}

fn describe_sysinfo(fields: &mut Fields<'_>, profile: &Profile, system: &Sysinfo) {
    fields.text("product", &profile.product);
    fields.text("version", &profile.version);
    fields.whole("bits", system.bits);
    fields.text("build_date", &system.build_date);
    fields.text("build", &system.build);
    fields.text("release", &system.release);
    fields.text("uname", &system.uname);
}

fn text(out: &mut String, profile: &Profile, answer: &Answer) {
    match answer {
        Answer::Lines(lines) => lines.iter().for_each(|line| put(out, format_args!("{line}\n"))),
        Answer::Config(answer) => answer.lines.iter().for_each(|line| put(out, format_args!("{line}\n"))),
        Answer::ClusterInfo(info) => text_info(out, info),
        Answer::Membership(list) => text_membership(out, profile, list),
        Answer::NodeName(name) => put(out, format_args!("{name}\n")),
        Answer::NodeAddress(address) => put(out, format_args!("{address}\n")),
        Answer::SharedList(list) => text_list(out, list),
        Answer::SharedShow(show) => text_show(out, show),
        Answer::SharedWhy(why) => limits::text_why(out, why),
        Answer::Throttle(reply) => limits::text_throttle(out, reply),
        Answer::Slot(reply) => limits::text_slot(out, reply),
        Answer::AuditIp(audit) => crate::audit::text_ip(out, audit),
        Answer::Count(count) => text_count(out, count),
        Answer::CachePair(pair) => pair.text(out),
        Answer::Rows(rows) => rows.text(out),
        Answer::DatasourceStatistics(statistics) => statistics.text(out),
        Answer::Summary(summary) => text_summary(out, summary),
        Answer::Mailq(mailq) => text_mailq(out, mailq),
        Answer::Pid(pid) => put(out, format_args!("{pid}\n")),
        Answer::Version => {
            let rule = "##############################################";
            put(out, format_args!("{rule}\n# {} version: {}\n", profile.program(), profile.version));
            put(out, format_args!("# {}\n# {}\n{rule}\n", profile.copyright, profile.licence));
        }
        Answer::Sysinfo(system) => text_sysinfo(out, profile, system),
    }
}

fn text_info(out: &mut String, info: &ClusterInfo) {
    match (&info.membership, &info.replication) {
        (None, None) => put(out, format_args!("Daemon: {} [disconnected]\n", info.daemon)),
        (membership, replication) => {
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
            let (main, shared) = (name(membership), name(replication));
            put(out, format_args!("Daemon: {} [m:{main},s:{shared}]\n", info.daemon));
        }
    }
    put(out, format_args!("Control Group: {}\n", info.control_group));
    match &info.leader {
        Some(leader) => {
            put(out, format_args!("Cluster Group: {} ({leader} is leader)\n", info.cluster_group))
        }
        None => put(out, format_args!("Cluster Group: {} (no leader)\n", info.cluster_group)),
    }
    put(out, format_args!("Logger Group: {}\n", info.logger_group.as_deref().unwrap_or("none")));
}

/// Beyond this many milliseconds a wall clock makes series windows disagree.
const CLOCK_OFFSET_MS_MAX: u64 = 2000;

fn text_membership(out: &mut String, profile: &Profile, list: &MembershipList) {
    for (index, member) in list.members.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        text_member(out, profile, member);
        if !list.verbose {
            continue;
        }
        match member.clock_offset_ms {
            Some(ms) if ms.unsigned_abs() > CLOCK_OFFSET_MS_MAX => {
                put(out, format_args!("Clock Offset: {ms} ms (over {CLOCK_OFFSET_MS_MAX})\n"));
            }
            Some(ms) => put(out, format_args!("Clock Offset: {ms} ms\n")),
            None => out.push_str("Clock Offset: -\n"),
        }
        match member.heartbeat_age_ms {
            Some(age) => put(out, format_args!("Heartbeat Age: {:.1} s\n", seconds(age))),
            None => out.push_str("Heartbeat Age: -\n"),
        }
        put(out, format_args!("View: {}\n", member.admitted));
    }
    if list.verbose {
        match list.detection_ms {
            Some(time) => put(out, format_args!("\nDetection Time: {:.1} s\n", seconds(time))),
            None => out.push_str("\nDetection Time: -\n"),
        }
    }
}

fn text_member(out: &mut String, profile: &Profile, member: &Member) {
    let (name, subcluster, kind) = match member.kind {
        NodeType::Node => (member.node_name.as_str(), member.subcluster.as_str(), profile.node_type.as_str()),
        NodeType::Manager => ("(Null)", "(Null)", "Manager"),
        NodeType::Other => ("(Null)", "(Null)", "Other"),
    };
    put(out, format_args!("Private Name: {}\nNode Name: {name}\n", member.private_name));
    put(out, format_args!("Subcluster: {subcluster}\nNode Type: {kind}\nVersion: {}\n", member.version));
    match member.address.filter(|_| member.kind == NodeType::Node) {
        Some(address) => put(out, format_args!("Address: {address}\n")),
        None => out.push_str("Address: 0.0.0.0:0\n"),
    }
    put(out, format_args!("Groups: {}\n", member.groups.join(", ")));
}

fn text_list(out: &mut String, list: &SharedList) {
    out.push_str("Currently managed objects:\n");
    for object in &list.objects {
        let snapshots = if object.snapshots { " w/ snapshots" } else { "" };
        put(out, format_args!("{:>30} [lazy, {}{snapshots}]\n", object.name, object.kind.words()));
    }
}

fn text_show(out: &mut String, show: &SharedShow) {
    let snapped = if show.snapped { "snapped " } else { "" };
    let (kind, view) = (show.kind.words(), view_word(&show.view));
    put(out, format_args!("lazy, {snapped}{kind} '{}', view '{view}'\n", show.typed));
    match &show.rows {
        SharedRows::Cidr(rows) => {
            for (prefix, count) in shown(rows) {
                put(out, format_args!("{count:>7}{:25}{prefix}\n", ""));
            }
        }
        SharedRows::Cache(rows) => {
            for (key, left) in rows {
                let left = left.map_or_else(|| "never".to_string(), |left| left.to_string());
                put(out, format_args!("{key:>60}:{left:>13}\n"));
            }
        }
        SharedRows::Gauge(rows) => {
            for (key, count) in shown(rows) {
                put(out, format_args!("{key:>60}:{count:>13}\n"));
            }
        }
        SharedRows::Throttles(rows) => {
            for (name, used, rate) in rows {
                put(out, format_args!("{name:>60}:{used:>13} of {rate}\n"));
            }
        }
        SharedRows::Slots(rows) => {
            for (key, owned, limit) in rows {
                put(out, format_args!("{key:>60}:{owned:>13} of {limit}\n"));
            }
        }
    }
    let ordered = matches!(show.rows, SharedRows::Throttles(_) | SharedRows::Slots(_));
    if ordered && !show.missing.is_empty() {
        put(out, format_args!("not settled: the tables of {} are still to come\n", show.missing.join(", ")));
    } else if !show.missing.is_empty() {
        put(out, format_args!("not complete: counts of {} are still to come\n", show.missing.join(", ")));
    }
}

fn text_count(out: &mut String, count: &CountReply) {
    match &count.result {
        CountResult::Sessions(sessions) => put(out, format_args!("{sessions} sessions\n")),
        CountResult::Rows { low, high, rows } => {
            if let CountKind::Inbound(service) = count.kind {
                put(out, format_args!("Displaying '{}' from /{low} to /{high}\n", service.word()));
            }
            for (prefix, count) in shown(rows) {
                let indent = usize::from(prefix.length()) + 1;
                put(out, format_args!("{count:>7}{:indent$}{prefix}\n", ""));
            }
        }
    }
}

fn text_summary(out: &mut String, s: &Summary) {
    out.push_str("Summary Statistics\n");
    let mut line = |label: &str, value: core::fmt::Arguments<'_>| {
        put(out, format_args!("        {label}: {value}\n"));
    };
    line("Outbound Concurrency", format_args!("{:>7}", s.outbound_concurrency));
    line("Inbound Concurrency", format_args!("{:>7}", s.inbound_concurrency));
    line("Active Domains", format_args!("{:>7}", s.active_domains));
    line("Active Queue Size", format_args!("{:>6}", s.active_queue_size));
    line("Delayed Queue Size", format_args!("{:>6}", s.delayed_queue_size));
    line("Destaged Queue Size", format_args!("{:>6}", 0));
    line("Total Queue Size", format_args!("{:>6}", total(s)));
    line("DNS A Queries", format_args!("{:>6}", s.dns_a_queries));
    line("DNS MX Queries", format_args!("{:>6}", s.dns_mx_queries));
    line("Pending DNS Queries", format_args!("{}", s.pending_dns_queries));
    line("Query Rate", format_args!("{:>6.2} queries/second", s.query_rate));
    line("Successfully Delivered Messages", format_args!("{:>6}", s.successfully_delivered_messages));
    line("Failed Messages", format_args!("{:>6}", s.failed_messages));
    line("Rejected Messages", format_args!("{:>6}", s.rejected_messages));
    line("Received Messages", format_args!("{:>6}", s.received_messages));
    line("Delivery Rate", format_args!("{:>6.2} messages/second", s.delivery_rate));
    line("Reception Rate", format_args!("{:>6.2} messages/second", s.reception_rate));
    line("Statistics Last Reset", format_args!("{:>6} seconds", s.since_reset));
    line("Uptime", format_args!("{:>6} seconds", s.uptime));
}

const fn total(summary: &Summary) -> u64 {
    summary.active_queue_size.saturating_add(summary.delayed_queue_size)
}

fn text_mailq(out: &mut String, mailq: &Mailq) {
    put(out, format_args!("{:<27} {:>30}{:>8}{:>8}\n", "Group/Binding", "Domain", "AQ", "DQ"));
    put(out, format_args!("{:-<74}\n", ""));
    for queue in &mailq.queues {
        let name = alloc::format!("{}/{}", queue.group, queue.binding);
        put(out, format_args!("{name:<27} {:>30}{:>8}{:>8}\n", queue.domain, queue.active, queue.delayed));
    }
}

fn text_sysinfo(out: &mut String, profile: &Profile, system: &Sysinfo) {
    let mut letters = profile.product.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    put(out, format_args!("{capital} Version: {} ({}-bit)\n", profile.version, system.bits));
    put(out, format_args!("build date: {} ({})\n", system.build_date, system.build));
    put(out, format_args!("product name: {}\n{}\n{}\n", profile.product, system.release, system.uname));
}

fn view_word(view: &SharedView) -> &str {
    match view {
        SharedView::Global => "global",
        SharedView::Node { private_name, .. } => private_name,
    }
}

/// Rows of count zero are never shown: a leaf may stay in the tree for a while after its last connection.
fn shown<K>(rows: &[(K, u64)]) -> impl Iterator<Item = &(K, u64)> {
    rows.iter().filter(|(_, count)| *count != 0)
}

#[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^53")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
