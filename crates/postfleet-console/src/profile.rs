//! What the answering process is, and the words it uses for itself.

use alloc::format;
use alloc::string::{String, ToString};

/// What kind of process answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A relay.
    Node,
    /// The cluster manager.
    Manager,
}

impl Role {
    /// The word of the greeting.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Manager => "manager",
        }
    }
}

/// The identity of the answering process. Texts come from its configuration; none is parsed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Node or manager.
    pub role: Role,
    /// The node name, as in greeting and machine forms.
    pub node: String,
    /// The version that banner, greeting and `sysinfo` show.
    pub version: String,
    /// `Console_Product_Name`: prompt, banner, `sysinfo`.
    pub product: String,
    /// `Console_Node_Type`: what `cluster membership` prints as the type of a node.
    pub node_type: String,
    /// Whether `Compatibility = "ecelerity"` is set: the manager's banner says `eccmgr`.
    pub compatible: bool,
    /// Third line of the banner.
    pub copyright: String,
    /// Fourth line of the banner.
    pub licence: String,
    /// Whether a `cluster` stanza is configured; without one there are no `cluster` commands.
    pub clustering: bool,
}

impl Profile {
    /// A node with our own words and clustering on.
    #[must_use]
    pub fn node(name: &str, version: &str) -> Self {
        Self {
            role: Role::Node,
            node: name.to_string(),
            version: version.to_string(),
            product: "postfleet".into(),
            node_type: "Postfleet".into(),
            compatible: false,
            copyright: "Copyright the postfleet contributors".into(),
            licence: "Licensed under the MIT License or the Apache License, Version 2.0".into(),
            clustering: true,
        }
    }

    /// The same with the words that `Compatibility = "ecelerity"` asks for.
    #[must_use]
    pub fn compatible(mut self) -> Self {
        self.compatible = true;
        self.product = "ecelerity".into();
        self.node_type = "Momentum".into();
        self
    }

    /// The name of the program in the banner.
    #[must_use]
    pub fn program(&self) -> String {
        match (self.role, self.compatible) {
            (Role::Node, _) => self.product.clone(),
            (Role::Manager, true) => "eccmgr".into(),
            (Role::Manager, false) => format!("{}-manager", self.product),
        }
    }
}
