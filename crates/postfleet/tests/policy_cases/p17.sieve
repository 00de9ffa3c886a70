ec_shared_throttle_create "bar" "10/1";
ec_shared_throttle_inc "bar";
$v = ec_shared_throttle_check "bar";
ec_action 250 "${v}";
