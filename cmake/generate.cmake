# Generated code lives in the build tree and is never committed: protobuf-c's from proto/*.proto, and the
# SQL migrations as C strings.

find_program(PROTOC_C protoc-c REQUIRED)

# Library `name` with the C code of every .proto below proto/. Included as "proto/<path>.pb-c.h".
function(tidegate_proto name)
	set(out ${CMAKE_BINARY_DIR}/generated)
	file(GLOB_RECURSE protos CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/proto/*.proto)
	foreach(proto ${protos})
		string(REGEX REPLACE "[.]proto$" ".pb-c" stem ${proto})
		add_custom_command(
			OUTPUT ${out}/${stem}.c ${out}/${stem}.h
			COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
			COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${out} ${CMAKE_SOURCE_DIR}/${proto}
			DEPENDS ${CMAKE_SOURCE_DIR}/${proto})
		list(APPEND sources ${out}/${stem}.c)
	endforeach()
	add_library(${name} STATIC ${sources})
	# Not our code: our warnings do not apply to it.
	target_compile_options(${name} PRIVATE -w)
	target_include_directories(${name} SYSTEM PUBLIC ${out})
	target_link_libraries(${name} PUBLIC PkgConfig::libprotobuf_c)
endfunction()

# Adds migrations.c to the target: the files of schema/sql in order (storage/migrations.h).
function(tidegate_embed_sql target)
	file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/schema/sql/*.sql)
	set(out ${CMAKE_BINARY_DIR}/generated/migrations.c)
	add_custom_command(
		OUTPUT ${out}
		COMMAND ${CMAKE_COMMAND} -DOUT=${out} "-DFILES=${files}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_sql.cmake
		DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_sql.cmake VERBATIM)
	target_sources(${target} PRIVATE ${out})
	# ISO C asks compilers for strings of 4095 bytes only; ours take more.
	set_source_files_properties(${out} PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
endfunction()
