//! Waiting for hosts to have heard of one another.

use crate::lab::{Lab, SETTLE_FOR};

impl Lab {
    /// Waits until every host has heard all that was learned: no flow comes or goes any more.
    pub async fn settled(&self) {
        let cookies = || -> Vec<Vec<_>> {
            let of = |host| self.flows(host).iter().map(|flow| flow.spec.cookie).collect();
            (0..self.hosts.len()).map(of).collect()
        };
        let mut before = cookies();
        for _ in 0..50 {
            tokio::time::sleep(2 * SETTLE_FOR).await;
            let now = cookies();
            if now == before {
                return;
            }
            before = now;
        }
        panic!("flows come and go for ten seconds");
    }
}
