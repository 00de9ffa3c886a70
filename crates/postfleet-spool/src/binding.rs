//! The names of bindings and of their groups, which are neither domains nor each other.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// The binding and the binding group that always exist.
pub const DEFAULT_BINDING: &str = "default";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// As the configuration writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is the one that always exists.
            #[must_use]
            pub fn is_default(&self) -> bool {
                *self.0 == *DEFAULT_BINDING
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(Box::from(DEFAULT_BINDING))
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Box::from(name))
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into_boxed_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }
    };
}

name! {
    /// A named source of outbound connections. Case matters; a configured name has no blank and no colon.
    BindingName
}

name! {
    /// A named set of bindings. Every binding is in exactly one, in `default` when none is written.
    BindingGroupName
}
