if ec_test :is "${args}" "first second" { ec_action 250 "included ${args}"; }
