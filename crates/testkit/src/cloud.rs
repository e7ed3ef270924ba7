//! A network to measure by.

/// Two bridges and a router, each machine behind filters as a cloud would draw them: anti-spoofing
/// and a security group on the way out, a security group on the way in.
pub const CLOUD: &str = "
    bridge blue
      vm1    02::01  10.0.1.5  in from-vm1
      vm2    02::02  10.0.1.6  out to-vm
    bridge green
      vm3    02::03  10.0.2.7  fd02::7  out to-vm
    router edge
      blue   02::a1  10.0.1.1/24  fd01::1/64
      green  02::a2  10.0.2.1/24  fd02::1/64
      up     02::b1  192.0.2.1/24  peer 02::99 192.0.2.254
      route 0.0.0.0/0 via up 192.0.2.254
      route 10.66.0.0/16 blackhole
    addresses friends 10.0.1.5 10.0.1.6 10.0.2.7
    chain from-vm1
      drop not mac-from 02::01
      drop ipv4 not from 10.0.1.5/32
      accept return-flow
      jump egress-group
    chain egress-group
      accept tcp
      accept udp
    chain to-vm
      accept return-flow
      jump ingress-group
      drop not type 2054
    chain ingress-group
      accept ipv4 tcp dport 22 from-group friends
      accept ipv4 tcp dport 80
      accept ipv4 udp dport 53
";
