# hf_boringssl: libcrypto of BoringSSL, Debian's package by default (evaluation), an upstream
# build with -DBORINGSSL_ROOT= (production: P-256 is 2-4 times faster there).
add_library(hf_boringssl INTERFACE)
if(BORINGSSL_ROOT)
  find_library(HF_BORINGSSL_CRYPTO NAMES libcrypto.a crypto
    PATHS ${BORINGSSL_ROOT} ${BORINGSSL_ROOT}/lib ${BORINGSSL_ROOT}/build
          ${BORINGSSL_ROOT}/build/crypto NO_DEFAULT_PATH REQUIRED)
  target_include_directories(hf_boringssl SYSTEM INTERFACE ${BORINGSSL_ROOT}/include)
  target_compile_definitions(hf_boringssl INTERFACE HF_BORINGSSL_UPSTREAM)
  find_package(Threads REQUIRED)
  # Static and hidden: its symbols must not meet another libcrypto's in the embedder's process.
  target_link_libraries(hf_boringssl INTERFACE ${HF_BORINGSSL_CRYPTO} Threads::Threads)
  target_link_options(hf_boringssl INTERFACE "LINKER:--exclude-libs,ALL")
else()
  find_path(HF_BORINGSSL_INCLUDE openssl/is_boringssl.h PATHS /usr/include/android
    NO_DEFAULT_PATH)
  find_library(HF_BORINGSSL_CRYPTO NAMES crypto
    PATHS /usr/lib/${CMAKE_C_LIBRARY_ARCHITECTURE}/android NO_DEFAULT_PATH)
  if(NOT HF_BORINGSSL_INCLUDE OR NOT HF_BORINGSSL_CRYPTO)
    message(FATAL_ERROR "BoringSSL not found: install android-libboringssl-dev, or pass "
      "-DBORINGSSL_ROOT=/path/to/boringssl")
  endif()
  get_filename_component(HF_BORINGSSL_LIBDIR ${HF_BORINGSSL_CRYPTO} DIRECTORY)
  target_include_directories(hf_boringssl SYSTEM INTERFACE ${HF_BORINGSSL_INCLUDE})
  target_link_libraries(hf_boringssl INTERFACE ${HF_BORINGSSL_CRYPTO})
  target_link_options(hf_boringssl INTERFACE "LINKER:-rpath,${HF_BORINGSSL_LIBDIR}")
endif()
