//! `fleet.json`: what a script needs to know about a running demo fleet.

use super::layout::NodeLayout;
use anyhow::Context;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(crate) const FILE: &str = "fleet.json";

/// Writes the list, whole or not at all.
pub(crate) fn write(dir: &Path, nodes: &[(NodeLayout, u32)]) -> anyhow::Result<()> {
    let list: Vec<Value> = nodes
        .iter()
        .map(|(node, pid)| {
            json!({
                "name": node.name,
                "pid": pid,
                "smtp": node.smtp.to_string(),
                "smtp_proxy": node.smtp_proxy.to_string(),
                "control": node.control().display().to_string(),
                "config": node.configuration().display().to_string(),
                "pid_file": node.pid_file().display().to_string(),
                "log": node.log().display().to_string(),
                "spool": node.spool().display().to_string(),
            })
        })
        .collect();
    let path = dir.join(FILE);
    let fresh = dir.join("fleet.json.new");
    let text = format!("{:#}\n", Value::Array(list));
    std::fs::write(&fresh, text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// What `--stop` needs of one node.
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) pid_file: PathBuf,
    pub(crate) config: PathBuf,
}

/// Reads the list back.
pub(crate) fn read(dir: &Path) -> anyhow::Result<Vec<Known>> {
    let path = dir.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("cannot read {}; is {} the folder of a demo fleet?", path.display(), dir.display())
    })?;
    let list: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let nodes = list.as_array().with_context(|| format!("{} holds no list of nodes", path.display()))?;
    nodes
        .iter()
        .map(|node| {
            let text = |key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
            Some(Known {
                name: text("name")?,
                pid: node.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok())?,
                pid_file: text("pid_file")?.into(),
                config: text("config")?.into(),
            })
        })
        .collect::<Option<Vec<_>>>()
        .with_context(|| format!("{}: a node lacks name, pid, pid_file or config", path.display()))
}
