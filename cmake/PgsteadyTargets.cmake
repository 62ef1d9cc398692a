# One library per folder, so that the linker holds the walls between them.
#
#   pgsteady_library(NAME [LINK public libraries...] [PRIVATE_LINK ...] [NO_UNITY])
#
# takes every *.cc of the folder but the tests, and makes NAME_test from *_test.cc. NO_UNITY: its
# files share names, so that they can't be compiled as one (the trees with sanitizers do that).
find_package(GTest REQUIRED)
include(GoogleTest)

function(pgsteady_library name)
  cmake_parse_arguments(ARG "NO_UNITY" "" "LINK;PRIVATE_LINK;TEST_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    message(STATUS "${name}: nothing to build yet")
    return()
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  if(tests)
    pgsteady_test(${name}_test SOURCES ${tests} LINK ${name} ${ARG_TEST_LINK})
  endif()
  foreach(target ${name} ${name}_test)
    if(ARG_NO_UNITY AND TARGET ${target})
      set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
    endif()
  endforeach()
endfunction()

# Four files at a time are compiled as one, for what is more headers than code.
function(pgsteady_few_units)
  if(PGSTEADY_FEW_UNITS)
    set_target_properties(${ARGN} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  endif()
endfunction()

# pgsteady_test(NAME SOURCES ... [LINK ...] [LABEL unit] [TIMEOUT seconds] [FAST])
#
# Compiling tests is mostly reading headers; they are not optimized, but for those that say FAST.
function(pgsteady_test name)
  cmake_parse_arguments(ARG "FAST" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  if(NOT ARG_FAST)
    target_compile_options(${name} PRIVATE -O0)
  endif()
  list(LENGTH ARG_SOURCES files)
  if(files GREATER 3)
    target_precompile_headers(${name} PRIVATE <gmock/gmock.h> <gtest/gtest.h> <chrono> <functional>
                              <map> <optional> <string> <vector>)
  endif()
  pgsteady_few_units(${name})
  gtest_discover_tests(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT}
                       DISCOVERY_TIMEOUT 60)
endfunction()
