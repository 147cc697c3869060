//! Reading a stranger's body: never more than the limit, never for long, and never too many at once. Memory is taken as
//! the bytes come in, not as they are announced, so that whoever sends slowly holds what was sent and no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use http::{HeaderMap, header};
use slipway_domain::ids::TenantId;
use slipway_runtime::problem::ApiError;
use tokio::time::timeout;

/// Largest delivery; GitHub and GitLab send no larger ones.
pub(super) const MAX_BYTES: usize = 25 * 1024 * 1024;
/// A body that takes longer to come in is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// One of which nothing comes in for so long, too.
const SILENCE: Duration = Duration::from_secs(5);
/// Bytes of all bodies that are in memory at once.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// What one tenant's hooks may take of them.
const TENANT_BYTES: usize = 64 * 1024 * 1024;

/// Bounds what all bodies together take. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    tenants: HashMap<TenantId, usize>,
}

/// The memory of one body; given back when dropped.
pub(super) struct Room {
    memory: Memory,
    tenant: TenantId,
    bytes: usize,
}

/// Refuses what says itself that it is too large, before anything of it is read.
pub(super) fn check_declared(headers: &HeaderMap) -> Result<(), ApiError> {
    match declared(headers) {
        Some(length) if length > MAX_BYTES => Err(too_large()),
        Some(_) | None => Ok(()),
    }
}

impl Memory {
    /// Room for a body of this tenant's hooks, empty at first.
    pub(super) fn room(&self, tenant: TenantId) -> Room {
        Room { memory: self.clone(), tenant, bytes: 0 }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Room {
    /// Takes so many bytes more, or says that there are none left.
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let tenant = self.tenant;
        let grown = self.memory.change(|taken| {
            let of_tenant = taken.tenants.get(&tenant).copied().unwrap_or_default();
            let fits = taken.all + bytes <= MEMORY_BYTES && of_tenant + bytes <= TENANT_BYTES;
            if fits {
                taken.all += bytes;
                taken.tenants.insert(tenant, of_tenant + bytes);
            }
            fits
        });
        if !grown {
            let busy = "Too many deliveries at once; send this one again in a moment. What is lost is found later.";
            return Err(ApiError::Busy(busy.to_owned(), 5));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let (tenant, bytes) = (self.tenant, self.bytes);
        self.memory.change(|taken| {
            taken.all = taken.all.saturating_sub(bytes);
            let left = taken.tenants.get(&tenant).copied().unwrap_or_default().saturating_sub(bytes);
            if left == 0 { taken.tenants.remove(&tenant) } else { taken.tenants.insert(tenant, left) }
        });
    }
}

/// Reads the body as it came, and stops at the limit.
pub(super) async fn read(body: Body, room: &mut Room) -> Result<Bytes, ApiError> {
    read_within(body, room, (SILENCE, READ_TIMEOUT)).await
}

async fn read_within(
    body: Body,
    room: &mut Room,
    (silence, whole_time): (Duration, Duration),
) -> Result<Bytes, ApiError> {
    let read = async {
        let mut stream = body.into_data_stream();
        let mut whole = Vec::new();
        while let Some(chunk) = timeout(silence, stream.next()).await.map_err(|_| late(silence))? {
            let chunk = chunk.map_err(broken)?;
            if whole.len() + chunk.len() > MAX_BYTES {
                return Err(too_large());
            }
            room.grow(chunk.len())?;
            if whole.is_empty() {
                whole = Vec::from(chunk);
            } else {
                whole.extend_from_slice(&chunk);
            }
        }
        Ok(Bytes::from(whole))
    };
    timeout(whole_time, read).await.map_err(|_| late(whole_time))?
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn late(limit: Duration) -> ApiError {
    let secs = limit.as_secs();
    ApiError::BadRequest(format!("The body did not come in within {secs} s; send the delivery again."))
}

fn too_large() -> ApiError {
    ApiError::TooLarge("A delivery may have at most 25 MB; this one is larger.".to_owned())
}

fn broken(_: axum::Error) -> ApiError {
    ApiError::BadRequest("The body broke off before its end; send the delivery again.".to_owned())
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    const MIB: usize = 1024 * 1024;

    async fn read_in(memory: &Memory, tenant: TenantId, body: Body) -> Result<(Bytes, Room), ApiError> {
        let mut room = memory.room(tenant);
        read(body, &mut room).await.map(|whole| (whole, room))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
        let (memory, tenant) = (Memory::default(), new_id());
        let (whole, _) =
            read_in(&memory, tenant, Body::from(vec![b'x'; MAX_BYTES])).await.map_err(|_| ()).expect("at the limit");
        assert_eq!(whole.len(), MAX_BYTES);
        let over = read_in(&memory, tenant, Body::from(vec![b'x'; MAX_BYTES + 1])).await;
        assert!(matches!(over, Err(ApiError::TooLarge(_))));
        let mut left = 100;
        let endless = futures_util::stream::repeat_with(move || {
            left -= 1;
            assert!(left > 0, "read on after the limit");
            Ok::<_, std::io::Error>(vec![b'x'; MIB])
        });
        assert!(matches!(read_in(&memory, tenant, Body::from_stream(endless)).await, Err(ApiError::TooLarge(_))));
        assert_eq!(memory.change(|taken| (taken.all, taken.tenants.len())), (0, 0), "all is given back");
    }

    #[test]
    fn a_declared_length_is_judged_before_reading() {
        let length = |bytes: usize| HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())]);
        assert!(check_declared(&length(MAX_BYTES)).is_ok());
        assert!(check_declared(&HeaderMap::new()).is_ok());
        assert!(matches!(check_declared(&length(MAX_BYTES + 1)), Err(ApiError::TooLarge(_))));
    }

    #[test]
    fn no_tenant_takes_the_room_of_the_others_and_all_of_them_have_a_limit() {
        let memory = Memory::default();
        let rooms = |tenant: TenantId| (0..5).map(move |_| tenant).collect::<Vec<_>>();
        let mut held = Vec::new();
        let greedy: TenantId = new_id();
        let mut refused = 0;
        for tenant in rooms(greedy) {
            let mut room = memory.room(tenant);
            if room.grow(20 * MIB).is_err() {
                refused += 1;
            }
            held.push(room);
        }
        assert_eq!(refused, 2, "three times 20 MiB are below 64, four are not");
        let mut others = 0;
        for _ in 0..20 {
            let mut room = memory.room(new_id());
            if room.grow(20 * MIB).is_ok() {
                others += 1;
            }
            held.push(room);
        }
        assert_eq!(others, 9, "256 MiB in all");
        drop(held);
        assert!(memory.room(greedy).grow(64 * MIB).is_ok(), "given back");
    }

    #[tokio::test]
    async fn who_sends_slowly_holds_only_what_was_sent_and_not_for_long() {
        let (memory, tenant) = (Memory::default(), new_id());
        let first = || futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b'x'; 10])]);
        let (moment, long) = (Duration::from_millis(20), Duration::from_secs(600));
        for limits in [(moment, long), (long, moment)] {
            let mut room = memory.room(tenant);
            let stalled = Body::from_stream(first().chain(futures_util::stream::pending()));
            let given_up = read_within(stalled, &mut room, limits).await;
            assert!(matches!(given_up, Err(ApiError::BadRequest(_))));
            assert_eq!(room.bytes, 10);
        }
    }
}
