//! Connections that really close. Dropping a response of a pooled client may keep its socket; so this makes
//! one connection per request, keeps a handle to each, and shuts all of them down in the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::{HeaderValue, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use slipway_buildkit::socket::{Address, Hangup, dial};
use slipway_runtime::lifecycle::{Life, Task};

/// A client whose connections end with it.
pub(super) struct Lane {
    docker: Docker,
    sockets: Arc<Sockets>,
}

struct Sockets {
    life: Life,
    address: Address,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    closed: bool,
    hangups: Vec<Hangup>,
    tasks: Vec<Task<()>>,
}

impl Lane {
    /// A client whose requests must be answered within `timeout`; what follows the head of an answer may
    /// take longer. Connects with the first request.
    pub(super) fn open(life: &Life, address: &Address, timeout: Duration) -> Result<Self, EngineError> {
        let sockets =
            Arc::new(Sockets { life: life.clone(), address: address.clone(), open: Mutex::new(Open::default()) });
        let shared = Arc::clone(&sockets);
        let transport = move |request: BollardRequest| {
            let shared = Arc::clone(&shared);
            async move { shared.send(request).await }
        };
        let timeout = timeout.as_secs().max(1);
        let docker =
            Docker::connect_with_custom_transport(transport, Some("http://docker"), timeout, API_DEFAULT_VERSION)?;
        Ok(Self { docker, sockets })
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut open = self.sockets.lock();
        open.closed = true;
        open.hangups.clear();
        open.tasks.clear();
    }
}

impl Sockets {
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        // Nothing in here panics while it holds the lock; a poisoned one is as good.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, mut request: BollardRequest) -> Result<Response<Incoming>, EngineError> {
        let (wire, hangup) = dial(&self.address).await.map_err(io)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(hyper)?;
        let task = self.life.task("engine connection", async move {
            // Its error is also the request's, which reports it.
            let _ = connection.await;
        });
        self.keep(hangup, task)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>()?;
        *request.uri_mut() = path;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
        sender.send_request(request).await.map_err(hyper)
    }

    fn keep(&self, hangup: Hangup, task: Task<()>) -> Result<(), EngineError> {
        let mut open = self.lock();
        if open.closed {
            return Err(io(std::io::Error::other("the call has ended")));
        }
        open.hangups.push(hangup);
        open.tasks.push(task);
        Ok(())
    }
}

fn io(err: std::io::Error) -> EngineError {
    EngineError::IOError { err }
}

fn hyper(err: hyper::Error) -> EngineError {
    EngineError::HyperResponseError { err }
}
