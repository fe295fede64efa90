# embed(TARGET NAME FILE): builds FILE into TARGET; results/base/embedded.h reads it back.
function(embed target name file)
  get_filename_component(path ${file} ABSOLUTE)
  set(source ${CMAKE_BINARY_DIR}/embedded/${name}.S)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
".section .rodata
.global assay_@name@_begin
.global assay_@name@_end
assay_@name@_begin:
.incbin \"@path@\"
assay_@name@_end:
.byte 0
.section .note.GNU-stack,\"\",%progbits
")
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${path})
  target_sources(${target} PRIVATE ${source})
endfunction()
