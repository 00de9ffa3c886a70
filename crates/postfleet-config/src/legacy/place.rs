//! Where items stand, as far as their translation depends on it.

use alloc::string::String;

use crate::legacy::modules;
use crate::legacy::raw::Raw;
use crate::schema::{self, Body, Row, Scope, Service};

/// Where items stand: in which scope, and whether in a 2.x module stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `None`: a scope that is not known.
    pub(crate) scope: Option<Scope>,
    pub(crate) service: Option<Service>,
    /// In a 2.x module stanza: keys may repeat, sections may be nested.
    pub(crate) old: bool,
    /// A key given again adds to its values.
    pub(crate) collects: bool,
    /// In the module of data sources, whose sections are the sources.
    pub(crate) caches: bool,
    /// What to call it.
    name: String,
}

impl Place {
    pub(crate) fn global() -> Self {
        Self::of(Scope::Global, None, false)
    }

    /// In an instance of a scope; `old`: in a stanza of the 2.x form.
    pub(crate) fn of(scope: Scope, service: Option<Service>, old: bool) -> Self {
        Self {
            scope: Some(scope),
            service,
            old,
            collects: old && scope != Scope::Cluster,
            caches: false,
            name: String::from(scope.name()),
        }
    }

    pub(crate) const fn is_global(&self) -> bool {
        matches!(self.scope, Some(Scope::Global)) && !self.old
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the product reads what stands here, or only its syntax.
    pub(super) fn is_read(&self) -> bool {
        self.scope.is_some_and(|scope| {
            scope == Scope::Global
                || schema::scope_rows().any(|row| row.scope == scope && row.body == Body::Read)
        })
    }

    /// The option of this name here.
    pub(crate) fn row(&self, name: &str) -> Option<&'static Row> {
        schema::row(self.scope?, self.service, name)
    }

    /// Inside a stanza of the 4.x form that stands here.
    pub(crate) fn inside(&self, scope: &str) -> Self {
        let row = self.scope.and_then(|parent| schema::child_scope(parent, self.service, scope));
        let inner = row.map(|row| row.scope);
        Self {
            scope: inner,
            service: inner.and_then(Scope::service).or(self.service),
            old: self.old,
            collects: false,
            caches: false,
            name: String::from(row.map_or(scope, |row| row.name)),
        }
    }

    /// Inside a module stanza.
    pub(crate) fn module(path: &str) -> Self {
        let name = modules::module_name(path);
        let stanza = modules::stanza(name);
        let scope = schema::child_scope(Scope::Global, None, stanza).map(|row| row.scope);
        Self {
            scope,
            service: None,
            old: true,
            collects: scope != Some(Scope::Cluster),
            caches: name.eq_ignore_ascii_case("ds_core"),
            name: String::from(name),
        }
    }

    /// Inside an item that stands here; `None` where nothing can stand.
    pub(crate) fn within(&self, item: &Raw) -> Option<Self> {
        match item {
            Raw::Include { .. } | Raw::Assignment(_) | Raw::Listeners { .. } => None,
            Raw::Stanza { scope, .. } => Some(self.inside(&scope.text)),
            Raw::Module { path, .. } => Some(Self::module(&path.text)),
        }
    }
}
