//! The contract of the store: the same tests on each backend.

mod bounds;
mod deletion;
mod grants;
mod interleavings;
mod migrations;
mod outbox;
mod people;
mod personal_tokens;
mod rollback;
mod round_trips;
pub(super) mod world;

/// Declares the tests of this module, each for the three backends.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = crate::store::contract::world::World::in_memory().await;
                super::$name(&world).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = crate::store::contract::world::World::sqlite().await;
                super::$name(&world).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = crate::store::contract::world::World::postgres().await;
                super::$name(&world).await;
                world.store.drop_schema().await;
            })*
        }
    };
}
use contract;
