//! Configuration commands: their lines, and their answers in the machine forms.
#![allow(clippy::unwrap_used, reason = "tests")]

use postfleet_console::{
    Answer, Command, ConfigAnswer, ConfigChange, ConfigData, ConfigDigest, ConfigOption, ConfigOther,
    ConfigPlace, ConfigPosition, ConfigScope, ConfigValue, Profile, parse, render,
};
use postfleet_types::WallTime;

fn profile() -> Profile {
    Profile::node("relay-0-1", "1.0.0")
}

/// The data of the JSON answer and the element of the XML answer.
fn machine(command: &str, data: ConfigData) -> (String, String) {
    let answer = Answer::Config(ConfigAnswer { lines: vec!["a".into(), "b \"c\"".into()], data });
    let output = |form: &str| {
        let request = parse(&format!("{form} {command}"), &profile());
        assert!(request.command.is_ok(), "{command}");
        render(&profile(), &request, WallTime::from_unix_seconds(0), Ok(&answer)).output
    };
    let json = output("json");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["ok"], true);
    let xml = output("xml");
    let (_, element) = xml.split_once("ok=\"true\">").unwrap();
    let (_, data) = json.split_once("\"data\":").unwrap();
    let data = data.strip_suffix("}\n").unwrap().to_owned();
    (data, element.strip_suffix("</Response>\n").unwrap().to_owned())
}

#[test]
fn lines_keep_what_the_configuration_language_reads() {
    let line = |typed: &str| match parse(typed, &profile()).command {
        Ok(Command::Config { line }) => line,
        other => panic!("{typed}: {other:?}"),
    };
    assert_eq!(line("  config  get \t idle_timeout "), "config get idle_timeout");
    assert_eq!(line("config set gateway \"a  b\" #x"), "config set gateway \"a  b\" #x");
    assert_eq!(line("json config set relay_hosts ( 10.0.0.0/8 )"), "config set relay_hosts ( 10.0.0.0/8 )");
    assert_eq!(line("config locate listen ^[:]25$"), "config locate listen ^[:]25$");
    assert_eq!(line("config begin from scratch"), "config begin from scratch");
    assert_eq!(line("write config"), "write config");
    assert_eq!(line("config unset"), "config unset");
}

#[test]
fn console_s11_2_options() {
    let option = ConfigOption {
        scope: vec!["Domain".into(), "a.example".into()],
        option: "Retry_Interval".into(),
        value: ConfigValue::Whole(900),
        set_in: Some(vec!["Domain".into(), "a.example".into()]),
        position: Some(ConfigPosition { file: "/etc/p.conf".into(), line: 3 }),
        beside: Vec::new(),
        hidden: Vec::new(),
    };
    assert_eq!(
        machine("config get domain a.example retry_interval", ConfigData::Option(option.clone())),
        (
            "{\"scope\":[\"Domain\",\"a.example\"],\"option\":\"Retry_Interval\",\"value\":900,\
             \"set_in\":[\"Domain\",\"a.example\"],\"file\":\"/etc/p.conf\",\"line\":3,\"default\":false}"
                .into(),
            "<Option option=\"Retry_Interval\" value=\"900\" file=\"/etc/p.conf\" line=\"3\" default=\"false\">\
             <Step name=\"Domain\"/><Step name=\"a.example\"/><SetIn name=\"Domain\"/><SetIn name=\"a.example\"/>\
             </Option>"
                .into()
        )
    );
    let unset =
        ConfigOption { scope: vec![], value: ConfigValue::Null, set_in: None, position: None, ..option };
    assert_eq!(
        machine("config eval retry_interval", ConfigData::Option(unset.clone())).0,
        "{\"scope\":[],\"option\":\"Retry_Interval\",\"value\":null,\"set_in\":null,\"file\":null,\"line\":null,\
         \"default\":true}"
    );
    let hidden = ConfigOther {
        value: ConfigValue::List(vec![ConfigValue::Text("<a>".into()), ConfigValue::Real(0.5)]),
        set_in: vec![],
        position: None,
    };
    let values = ConfigOption {
        value: ConfigValue::Dict(vec![("uri".into(), "x\"y".into())]),
        beside: vec![hidden.clone()],
        hidden: vec![hidden],
        ..unset
    };
    let (json, xml) = machine("config where retry_interval", ConfigData::Option(values));
    assert!(json.contains("\"value\":{\"uri\":\"x\\\"y\"}"), "{json}");
    assert!(json.contains("\"beside\":[{\"value\":[\"<a>\",0.5],"), "{json}");
    assert!(
        json.ends_with("\"hidden\":[{\"value\":[\"<a>\",0.5],\"set_in\":[],\"file\":null,\"line\":null}]}"),
        "{json}"
    );
    assert!(
        xml.ends_with(
            "<Entry key=\"uri\" value=\"x&quot;y\"/><Beside><Item value=\"&lt;a&gt;\"/><Item value=\"0.5\"/></Beside>\
             <Hidden><Item value=\"&lt;a&gt;\"/><Item value=\"0.5\"/>\
             </Hidden></Option>"
        ),
        "{xml}"
    );
}

#[test]
fn console_s11_2_scopes_places_and_changes() {
    let inner = ConfigScope {
        name: "Listen".into(),
        instance: Some(":25".into()),
        options: vec![("Enable".into(), ConfigValue::Truth(false))],
        scopes: vec![],
    };
    let scope = ConfigScope {
        name: "Esmtp_Listener".into(),
        instance: None,
        options: vec![("SMTP_Extensions".into(), ConfigValue::List(vec![ConfigValue::Text("SIZE".into())]))],
        scopes: vec![inner],
    };
    assert_eq!(
        machine("config showrecurse esmtp_listener", ConfigData::Scope(scope)),
        (
            "{\"name\":\"Esmtp_Listener\",\"instance\":null,\"options\":{\"SMTP_Extensions\":[\"SIZE\"]},\
             \"scopes\":[{\"name\":\"Listen\",\"instance\":\":25\",\"options\":{\"Enable\":false},\"scopes\":[]}]}"
                .into(),
            "<Scope name=\"Esmtp_Listener\"><Option name=\"SMTP_Extensions\"><Item value=\"SIZE\"/></Option>\
             <Scope name=\"Listen\" instance=\":25\"><Option name=\"Enable\" value=\"false\"/></Scope></Scope>"
                .into()
        )
    );
    let place = ConfigPlace {
        scope: "Listen".into(),
        instance: Some(":25".into()),
        path: "Esmtp_Listener::Listen:\\:25:".into(),
        position: None,
        implied: false,
    };
    assert_eq!(
        machine("config locate listen", ConfigData::Places(vec![place])).0,
        "{\"places\":[{\"scope\":\"Listen\",\"instance\":\":25\",\"path\":\"Esmtp_Listener::Listen:\\\\:25:\",\
         \"file\":null,\"line\":null}]}"
    );
    let change = ConfigChange {
        command: "config unset domain a".into(),
        scope: vec!["Domain".into(), "a".into()],
        option: None,
    };
    assert_eq!(
        machine("config diff", ConfigData::Changes(vec![change])).0,
        "{\"changes\":[{\"command\":\"config unset domain a\",\"scope\":[\"Domain\",\"a\"],\"option\":null}]}"
    );
    assert_eq!(
        machine("config replay", ConfigData::Lines),
        (
            "{\"lines\":[\"a\",\"b \\\"c\\\"\"]}".into(),
            "<Output><Line>a</Line><Line>b &quot;c&quot;</Line></Output>".into()
        )
    );
}

#[test]
fn console_s11_2_what_members_agree_on() {
    let digest = ConfigDigest {
        digest: 0x10ab_0000_0000_0001,
        options: vec![("peers".into(), 0x0ab, "a=192.0.2.1".into())],
    };
    let (json, xml) = machine("config digest", ConfigData::Digest(digest));
    assert_eq!(
        json,
        "{\"digest\":\"10ab000000000001\",\"options\":[{\"option\":\"peers\",\"digest\":\"0ab\",\
         \"value\":\"a=192.0.2.1\"}]}"
    );
    assert!(xml.starts_with("<Agreement digest=\"10ab000000000001\">"), "{xml}");
}
