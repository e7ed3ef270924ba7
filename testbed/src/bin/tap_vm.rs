//! Stands for a hypervisor with one VM: `tap_vm HOST-NAMESPACE TAP VM-NAMESPACE TAP` holds both
//! taps and hands frames between them, until killed.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, host_tap, vm, vm_tap] = arguments.as_slice() else {
        eprintln!("usage: tap_vm HOST-NAMESPACE TAP VM-NAMESPACE TAP");
        return ExitCode::FAILURE;
    };
    match mn_testbed::bridge_taps((host, host_tap), (vm, vm_tap)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tap_vm: {error}");
            ExitCode::FAILURE
        }
    }
}
