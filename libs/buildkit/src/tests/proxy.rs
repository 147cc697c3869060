//! A way to an engine that can be cut.

use slipway_runtime::lifecycle::{Life, Task};
use tokio::net::TcpListener;

use crate::socket::{Address, dial};

/// Passes on until it is dropped, which cuts every connection.
pub struct Proxy {
    pub address: Address,
    _task: Task<()>,
}

impl Proxy {
    pub async fn start(life: &Life, to: Address) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = Address::Tcp(listener.local_addr().expect("an address").to_string());
        let inner = life.clone();
        let task = life.task("proxy", async move {
            let mut open = Vec::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut far, hangup) = dial(&to).await.expect("connected");
                open.push(inner.task("proxied", async move {
                    let _hangup = hangup;
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }));
            }
        });
        Self { address, _task: task }
    }
}
