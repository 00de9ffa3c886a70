# Whoever comes too early waits.
ec_throttle_create "slow" "3/2";
ec_throttle_tarpit "slow";
