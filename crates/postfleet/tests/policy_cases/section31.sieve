/* What the language offers: comments, strings in two forms, numbers with suffixes, branches, tests in tests. */
require ["fileinto", "reject"];
$text = text:
one
..two
.
;
$number = 2K;
if not anyof (false, ec_test :is "${number}" "2047") {
  if allof (true, type :is $number "number", is_true "yes", ec_test :matches "${text}" "one*.two*") {
    $sum = ec_add "55.54" 0;
    $parts = split "," "a,b,c";
    $joined = join "-" $parts;
    ec_action 250 "${sum} ${joined} ${parts} $x";
  } elsif true { ec_action 250 "not all"; }
} else { ec_action 250 "any"; }
