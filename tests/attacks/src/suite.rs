//! One list of attacks makes both the table and the tests.

/// Makes a list of attacks out of `name => attack` lines.
#[macro_export]
macro_rules! listed {
    ($($name:ident => $attack:path,)*) => {
        /// Every attack of this part, in the order of its list.
        #[must_use]
        pub fn all() -> Vec<$crate::Attack> {
            vec![$($crate::Attack { name: stringify!($name), ..$attack }),*]
        }
    };
}

/// Makes a test for each attack and each enforcer of ours out of `name => attack` lines.
#[macro_export]
macro_rules! tested {
    ($($name:ident => $attack:path,)*) => {
        $(mod $name {
            #[test]
            fn local() {
                $crate::survive(&$attack, $crate::Enforcer::Local);
            }

            #[test]
            fn docker() {
                $crate::survive(&$attack, $crate::Enforcer::Docker);
            }
        })*
    };
}

/// The same, for attacks that tools with a path can be reached by as well.
#[macro_export]
macro_rules! tested_everywhere {
    ($($name:ident => $attack:path,)*) => {
        $(mod $name {
            #[test]
            fn tools_alone() {
                $crate::survive(&$attack, $crate::Enforcer::ToolsAlone);
            }

            #[test]
            fn tools() {
                $crate::survive(&$attack, $crate::Enforcer::Tools);
            }

            #[test]
            fn local() {
                $crate::survive(&$attack, $crate::Enforcer::Local);
            }

            #[test]
            fn docker() {
                $crate::survive(&$attack, $crate::Enforcer::Docker);
            }
        })*
    };
}
