# hf_flags: the warnings and sanitizers every target of ours is built with.
add_library(hf_flags INTERFACE)
target_compile_options(hf_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wconversion -Wshadow -Wswitch-enum -Wmissing-prototypes
  -Wstrict-prototypes -Wvla -Wundef -Wpointer-arith -Wwrite-strings>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>
  -fstack-protector-strong)
target_compile_definitions(hf_flags INTERFACE _GNU_SOURCE)
if(HF_WERROR)
  target_compile_options(hf_flags INTERFACE -Werror)
endif()
if(HF_SANITIZE)
  target_compile_options(hf_flags INTERFACE -fsanitize=${HF_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(hf_flags INTERFACE -fsanitize=${HF_SANITIZE})
  target_compile_definitions(hf_flags INTERFACE HF_SANITIZED)
else()
  target_compile_definitions(hf_flags INTERFACE
    $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
endif()
if(HF_UNSAFE_FUZZING)
  target_compile_definitions(hf_flags INTERFACE HF_UNSAFE_FUZZING)
endif()
if(HF_CT_CHECK)
  target_compile_definitions(hf_flags INTERFACE HF_CT_CHECK)
endif()
target_include_directories(hf_flags INTERFACE ${CMAKE_SOURCE_DIR}/include)
