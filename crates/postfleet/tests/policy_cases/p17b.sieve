$v = ec_shared_throttle_check "bar";
ec_action 250 "${v}";
