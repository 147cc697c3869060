//! Listeners of a process, behind gates that open once their service stands.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use slipway_runtime::config::Config;
use slipway_runtime::health::Need;
use slipway_runtime::lifecycle::Life;
use slipway_runtime::ops::Ops;
use tokio::net::TcpListener;
use tracing::debug;

use crate::gate::Gate;
use crate::notify;
use crate::sign_ins::SignIns;

/// One listener for everybody and builders alike, or one for each.
pub struct Listeners {
    public: Gate,
    agents: Option<Gate>,
    /// Where everybody connects.
    pub address: SocketAddr,
    /// Where builders connect.
    pub agent_address: SocketAddr,
}

impl Listeners {
    /// Listens and answers for the process's health at once.
    pub async fn open(config: &Config, ops: Ops, life: &Life) -> anyhow::Result<Self> {
        let listener = bind(config.listen, "SLIPWAY_LISTEN").await?;
        let address = listener.local_addr()?;
        let public = Gate::default();
        let mut listeners = Self { public, agents: None, address, agent_address: address };
        if let Some(wanted) = config.agent_listen {
            let listener = bind(wanted, "SLIPWAY_AGENT_LISTEN").await?;
            listeners.agent_address = listener.local_addr()?;
            let gate = Gate::default();
            serve(life, "agent listener", listener, gate.behind(Router::new()));
            listeners.agents = Some(gate);
        }
        let gate = listeners.public.clone();
        ops.health.watch("start", Need::Required, move || {
            let started = gate.is_open();
            async move { if started { Ok(()) } else { Err("what it stands on is not there yet".to_owned()) } }
        });
        serve(life, "API", listener, listeners.public.behind(ops.router()));
        Ok(listeners)
    }

    /// Lets requests in, past `sign_ins`.
    pub fn let_in(&self, sign_ins: &SignIns, public: Router, agents: Router) {
        let (public, agents) = (sign_ins.guard(public), sign_ins.guard(agents));
        match &self.agents {
            Some(gate) => {
                self.public.open(public);
                gate.open(agents);
            }
            None => self.public.open(public.merge(agents)),
        }
        notify::ready();
    }
}

async fn bind(address: SocketAddr, setting: &'static str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

fn serve(life: &Life, name: &'static str, listener: TcpListener, router: Router) {
    let stop = life.clone();
    life.spawn(name, async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        // Answers of several writes, and events, would else wait for the other side's delayed acknowledgement: 40 ms.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        axum::serve(listener, service)
            .with_graceful_shutdown(async move { stop.stopping().await })
            .await
            .context("cannot accept connections")
    });
}
