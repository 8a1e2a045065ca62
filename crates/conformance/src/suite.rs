//! Turns a list of cases into a suite function and into a macro that makes one test of each case.

/// Makes `suite` (all cases, one after the other) and the exported macro (one test per case).
///
/// The first token is `$`, which a macro that makes a macro cannot write itself.
macro_rules! suite {
    ($d:tt $(#[$doc:meta])* $suite:ident, $macro_name:ident, $module:ident, $port:ty: $($case:ident,)+) => {
        $(#[$doc])*
        pub async fn $suite<F, Fut>(fresh: F, can: Capabilities)
        where
            F: Fn() -> Fut,
            Fut: Future<Output = $crate::Instance<$port>>,
        {
            $($case(fresh().await, can).await;)+
        }

        $(#[$doc])*
        ///
        /// Takes a name for the module of tests, an async function that gives a fresh instance, and what the
        /// backend can do (left out: everything).
        #[macro_export]
        macro_rules! $macro_name {
            ($d name:ident, $d fresh:expr) => {
                $crate::$macro_name!($d name, $d fresh, $crate::$module::Capabilities::default());
            };
            ($d name:ident, $d fresh:expr, $d can:expr) => {
                mod $d name {
                    #[allow(unused_imports, reason = "the instance may be named by a full path")]
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $crate::$module::$case(($d fresh)().await, $d can).await;
                        }
                    )+
                }
            };
        }
    };
}
