# Thirty pass.
ec_throttle_create "foo" "30/300";
ec_throttle_inc "foo";
$v = ec_throttle_check "foo";
if ec_test :is $v "true" { ec_action 451 "4.7.1 later"; }
