use hubward_emulator::Emulator;
#[tokio::main(flavor="current_thread")]
async fn main() {
    let e = Emulator::builder().hubs(["127.0.0.77"]).bind(["127.0.0.77".parse().unwrap()]).https_port(443).mqtt_port(8883).start().await.unwrap();
    println!("{}", e.hub_connection_string("127.0.0.77").unwrap());
    println!("{}", e.ca_file().display());
    println!("{}", e.add_device("127.0.0.77","dm").unwrap().expose_base64().as_str());
    std::future::pending::<()>().await
}
