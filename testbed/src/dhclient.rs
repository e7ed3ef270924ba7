//! ISC's DHCP client in VMs, for both IP versions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::namespace::finish;
use crate::vm::GUEST;
use crate::{LabError, Outcome, Vm};

/// What a DHCP client was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DhcpLease {
    pub address: String,
    pub routers: String,
    pub dns: String,
    pub mtu: String,
    pub classless_routes: String,
}

/// What a DHCPv6 client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DhcpV6 {
    /// An address and the rest.
    Stateful,
    /// The rest alone.
    Stateless,
}

/// What a DHCPv6 client was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DhcpV6Lease {
    pub address: String,
    pub dns: String,
}

/// The files of one run of the client.
struct Files {
    conf: PathBuf,
    script: PathBuf,
    told: PathBuf,
    leases: PathBuf,
    pid: PathBuf,
}

impl Vm {
    /// Asks for an address with ISC's dhclient, which then gives it to the interface. Its script
    /// is ours, because the system's would write the machine's own resolv.conf.
    ///
    /// # Errors
    /// When no lease came within `patience` seconds.
    pub fn dhcp(&self, directory: &Path, patience: u32) -> Outcome<DhcpLease> {
        let options = "subnet-mask, routers, domain-name-servers, interface-mtu, \
                       rfc3442-classless-static-routes";
        let conf = format!(
            "timeout {patience};\ninitial-interval 1;\n\
             option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n\
             request {options};\n"
        );
        let told = self.dhclient(directory, &["-4", "-1"], &conf)?;
        let find = |name: &str| value(&told, name);
        Ok(DhcpLease {
            address: find("new_ip_address"),
            routers: find("new_routers"),
            dns: find("new_domain_name_servers"),
            mtu: find("new_interface_mtu"),
            classless_routes: find("new_rfc3442_classless_static_routes"),
        })
    }

    /// Asks by DHCPv6; an address is given to the interface, as one without a subnet: what is on
    /// the link, only router advertisements say (RFC 5942 §4).
    ///
    /// # Errors
    /// When no answer came within `patience` seconds.
    pub fn dhcp_v6(&self, directory: &Path, what: DhcpV6, patience: u32) -> Outcome<DhcpV6Lease> {
        let conf = format!("timeout {patience};\nrequest dhcp6.name-servers;\n");
        let arguments: &[&str] = match what {
            DhcpV6::Stateful => &["-6", "-1", "-D", "LL"],
            DhcpV6::Stateless => &["-6", "-1", "-S", "-D", "LL"],
        };
        let told = self.dhclient(directory, arguments, &conf)?;
        Ok(DhcpV6Lease {
            address: value(&told, "new_ip6_address"),
            dns: value(&told, "new_dhcp6_name_servers"),
        })
    }

    /// Runs the client until it has an answer; what it was told, a line a variable.
    fn dhclient(&self, directory: &Path, arguments: &[&str], conf: &str) -> Outcome<String> {
        let at = |end: &str| directory.join(format!("dhcp-{}.{end}", self.name));
        let files = Files {
            conf: at("conf"),
            script: at("sh"),
            told: at("told"),
            leases: at("leases"),
            pid: at("pid"),
        };
        let write = |path: &Path, text: &str| {
            fs::write(path, text).map_err(LabError::machine(format!("write {}", path.display())))
        };
        write(&files.conf, conf)?;
        write(&files.script, &script(&files.told))?;
        fs::set_permissions(&files.script, fs::Permissions::from_mode(0o755))
            .map_err(LabError::machine("make dhclient's script executable"))?;
        // A former lease would make dhclient ask for the same again, without a DISCOVER.
        for old in [&files.told, &files.leases] {
            if old.exists() {
                fs::remove_file(old).map_err(LabError::machine("remove a former lease"))?;
            }
        }
        let patience =
            conf.lines().find_map(|line| line.strip_prefix("timeout ")?.strip_suffix(';'));
        let mut command = self.namespace.command("timeout");
        // Version 6 of the client's protocol knows no end of its own.
        command.arg(patience.unwrap_or("10")).arg("dhclient").args(arguments).arg("-v");
        command.arg("-cf").arg(&files.conf).arg("-sf").arg(&files.script);
        command.arg("-lf").arg(&files.leases).arg("-pf").arg(&files.pid).arg(GUEST);
        let outcome = finish(&mut command);
        self.end_dhclient(&files.pid);
        outcome?;
        fs::read_to_string(&files.told).map_err(LabError::machine("read dhclient's lease"))
    }

    /// dhclient stays to renew; in a lab it has done its work.
    fn end_dhclient(&self, pid_file: &Path) {
        let pid = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid {
            let pid = nix::unistd::Pid::from_raw(pid);
            if let Err(error) = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
                eprintln!("{}: dhclient {pid} is gone already: {error}", self.name);
            }
        }
    }
}

/// What dhclient runs at each change: writes down what it was told, and configures the interface.
fn script(told: &Path) -> String {
    let told = told.display();
    format!(
        "#!/bin/sh\n\
         case \"$reason\" in\n\
         BOUND|RENEW|REBIND|REBOOT)\n\
         env | grep ^new_ > {told}\n\
         ip addr replace \"$new_ip_address/$new_subnet_mask\" dev \"$interface\"\n\
         [ -z \"$new_interface_mtu\" ] || ip link set \"$interface\" mtu \"$new_interface_mtu\"\n\
         for r in $new_routers; do ip route replace default via \"$r\"; done\n\
         ;;\n\
         BOUND6|RENEW6|REBIND6)\n\
         env | grep ^new_ > {told}\n\
         [ -z \"$new_ip6_address\" ] || ip addr replace \"$new_ip6_address/128\" dev \"$interface\"\n\
         ;;\n\
         esac\n\
         exit 0\n"
    )
}

/// The value of a variable in what dhclient told.
fn value(told: &str, name: &str) -> String {
    let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_from_what_dhclient_told() {
        let told = "new_ip_address=10.0.1.2\nnew_routers=10.0.1.1\nnew_x=y\n";
        assert_eq!(value(told, "new_ip_address"), "10.0.1.2");
        assert_eq!(value(told, "new_interface_mtu"), "");
    }
}
