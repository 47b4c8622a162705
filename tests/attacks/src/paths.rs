//! "Paths and links": attacks on the tools that take a path, and on the walls by every name that a path can have.

/// Every attack of this part: `name => attack`. `$each` is a macro that makes something of the list.
#[macro_export]
macro_rules! path_attacks {
    ($each:ident) => {
        $crate::$each! {}
    };
}

crate::path_attacks!(listed);
