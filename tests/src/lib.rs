//! What the stories over the whole app stand on: real components as child processes ([`env`]), the forges'
//! deliveries as they are sent ([`hooks`]), and a client of the outside face ([`api`]).

pub mod api;
pub mod bench;
pub mod chaos;
pub mod env;
pub mod fake_forge;
pub mod fault_proxy;
pub mod hooks;
pub mod hostile;
pub mod pass_on;
pub mod s3_server;
pub mod scripted_engine;
pub mod wait;
pub mod world;
