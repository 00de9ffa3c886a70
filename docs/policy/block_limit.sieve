# The same as block_limit.lua, for connect_phase1.
($n) = audit_service "inbound_cidr" "/24";
if ec_test :value "gt" :comparator "i;ascii-numeric" "${n}" "10" {
  ec_action 421 "4.7.0 too many connections from your network" "limit:block";
}
