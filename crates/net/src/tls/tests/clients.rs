//! Client ports that want to know who comes.

use super::*;

/// A node that asks clients for certificates.
async fn strict_node(machine: &SimNode, ca: &Authority) -> Arc<NodeTls> {
    open_for(machine, ca, &issue(machine, ca, "db1"), ClientAuth::Required).await.expect("usable")
}

/// TLS-4
#[tokio::test(start_paused = true)]
async fn where_clients_must_show_a_certificate_those_of_the_ca_are_let_in_and_nobody_else() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let (ca, other) = (authority(&one, "prod"), authority(&one, "test"));
    let node = strict_node(&one, &ca).await;
    let ada = ca.client("ada", validity(&one, 10)).expect("a certificate");
    for own in [ada, issue(&one, &ca, "db2")] {
        let dialer = client(&one, &ca, Some(own));
        for _ in 0..3 {
            assert_eq!(talk(&dialer, HOST, &node, Port::Client).await, (Ok(()), Ok(())), "nodes are let in as well");
        }
    }
    let wanted = ["it wants to see the certificate of a client", "strata cert client", "--certs"];
    let missing = ["it shows no certificate, and only clients with one are let in", "strata cert client"];
    assert_refused(talk(&client(&one, &ca, None), HOST, &node, Port::Client).await, &wanted, &missing);
    assert_refused(talk(&old_client(&one, &ca), HOST, &node, Port::Client).await, &wanted, &missing);
    // Of another CA, also of one of the same name.
    let twin = authority(&one, "prod");
    for (foreign, dialing) in [(&other, "it believes another CA"), (&twin, "another CA of the same name")] {
        let eve = foreign.client("eve", validity(&one, 10)).expect("a certificate");
        let result = talk(&client(&one, &ca, Some(eve)), HOST, &node, Port::Client).await;
        assert_refused(result, &["(`eve`, signed by", dialing], &["not signed by `strata CA of prod`"]);
    }
}

/// TLS-4
#[tokio::test(start_paused = true)]
async fn a_client_is_refused_when_its_certificate_has_ended_or_says_not_what_it_is() {
    let world = SimWorld::new(1);
    let (one, two) = (machine(&world, 1), machine(&world, 2));
    let ca = authority(&one, "prod");
    let node = strict_node(&one, &ca).await;
    let ada = ca.client("ada", validity(&one, 10)).expect("a certificate");
    one.set_clock_offset(11 * 24 * 3600 * 1000);
    let result = talk(&client(&two, &ca, Some(ada)), HOST, &node, Port::Client).await;
    assert_refused(result, &["it has expired, by the clock there"], &["its certificate expired on", "strata cert"]);
    // Signed by the right CA, but for something that it does not know.
    let thing = ca.other("thing", validity(&one, 10)).expect("a certificate");
    let result = talk(&client(&one, &ca, Some(thing)), HOST, &node, Port::Client).await;
    assert_refused(result, &["(`thing`, signed by"], &["is for something else, not that of a client"]);
}

/// TLS-3, TLS-4
#[tokio::test(start_paused = true)]
async fn whom_clients_are_signed_by_is_read_again_while_the_node_runs() {
    let world = SimWorld::new(1);
    let one = machine(&world, 1);
    let (old, new) = (authority(&one, "prod"), authority(&one, "prod2"));
    let node = strict_node(&one, &old).await;
    let of = |ca: &Authority, trusted: &Authority| {
        client(&one, trusted, Some(ca.client("ada", validity(&one, 10)).expect("a certificate")))
    };
    // Both CAs are believed for a while; then only the new one.
    let both = format!("{}{}", old.certificate(), new.certificate());
    write(&one, &both, &issue(&one, &new, "db1")).await;
    assert_eq!(node.reload().await, Ok(true));
    for ca in [&old, &new] {
        assert_eq!(talk(&of(ca, &new), HOST, &node, Port::Client).await, (Ok(()), Ok(())));
    }
    write(&one, new.certificate(), &issue(&one, &new, "db1")).await;
    assert_eq!(node.reload().await, Ok(true));
    assert_eq!(talk(&of(&new, &new), HOST, &node, Port::Client).await, (Ok(()), Ok(())));
    let result = talk(&of(&old, &new), HOST, &node, Port::Client).await;
    assert_refused(result, &["it believes another CA"], &["not signed by `strata CA of prod2`"]);
    let result = talk(&client(&one, &new, None), HOST, &node, Port::Client).await;
    assert_refused(result, &["it wants to see"], &["it shows no certificate"]);
}
