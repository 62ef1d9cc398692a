# Read by ctest after it knows the tests: those that start etcd are not for every save.
foreach(test IN LISTS dcs_test_TESTS)
  if(test MATCHES "^(Etcd|Renewer|Security)\\.")
    set_tests_properties(${test} PROPERTIES LABELS process)
  endif()
endforeach()
