//! Two hosts, real programs, real traffic: what users are promised.

mod adoption;
mod asked;
mod attacks;
mod changes;
mod cloud;
mod conditions;
mod connections;
mod dhcp;
mod faults;
mod filters;
mod floods;
mod fragments;
mod idle;
mod nat;
mod nat_errors;
mod nat_state;
mod reach;
mod refusals;
mod slaac;
mod street;
mod talk;
mod vxlan;
mod walks;
mod wires;
